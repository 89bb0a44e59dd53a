#!/bin/bash
# examples/notify.sh, run by --notify and --notify-host of real jobs with names and commands full of odd
# characters: what servers in place of 企业微信, 钉钉, Server酱 and a mail server get, and sendmail. No
# key is on a command line; what they refuse is told; a job that is lost finds its keys in a file.
# limit: 180
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"

script=$TOP/examples/notify.sh
mkdir -p "$work/p" "$work/bin" "$work/few"
cd "$work/p"

# ---- who is told ----

cat >"$work/servers.py" <<'EOT'
"""usage: servers.py DIR: answers as the four do, and writes what came into DIR/got, a line of JSON each."""
import base64, http.server, json, os, socketserver, ssl, sys, threading, urllib.parse

top = sys.argv[1]
lock = threading.Lock()


def put(what):
    with lock, open(top + "/got", "a") as f:
        f.write(json.dumps(what) + "\n")


class Web(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        url = urllib.parse.urlsplit(self.path)
        put({"path": url.path, "query": urllib.parse.parse_qs(url.query, strict_parsing=bool(url.query)),
             "raw_query": url.query, "type": self.headers["Content-Type"], "body": body.decode("latin-1")})
        if "refused" in self.path:
            answer = {"errcode": 93000, "errmsg": "invalid webhook url"}
        elif url.path.endswith(".send"):
            answer = {"code": 0, "message": "", "data": {"pushid": "1"}}
        else:
            answer = {"errcode": 0, "errmsg": "ok"}
        text = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


class Mail(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self):
        got = {"to": []}
        self.say("220 here")
        while line := self.rfile.readline():
            assert line.endswith(b"\r\n"), line
            verb, _, rest = line.decode().strip().partition(" ")
            if verb == "EHLO":
                self.say("250-here\r\n250 AUTH PLAIN")
            elif verb == "AUTH":
                if rest == "PLAIN":
                    self.say("334 ")
                    rest += " " + self.rfile.readline().decode().strip()
                got["auth"] = base64.b64decode(rest.split()[1]).decode().split("\0")
                self.say("235 in")
            elif verb == "DATA":
                self.say("354 go on")
                lines = []
                while (line := self.rfile.readline()) != b".\r\n":
                    assert line.endswith(b"\r\n") and len(line) <= 1000, line
                    lines.append(line[1:] if line.startswith(b".") else line)
                got["mail"] = b"".join(lines).decode("ascii")
                put(got)
                self.say("250 taken")
            elif verb == "QUIT":
                self.say("221 bye")
                return
            else:
                if verb == "MAIL":
                    got["from"] = rest
                elif verb == "RCPT":
                    got["to"].append(rest)
                self.say("250 fine")


class Secure(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def get_request(self):
        c, at = super().get_request()
        return context.wrap_socket(c, server_side=True), at


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(top + "/cert", top + "/cert.key")
web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web)
mail = Secure(("127.0.0.1", 0), Mail)
threading.Thread(target=mail.serve_forever, daemon=True).start()
with open(top + "/ports.new", "w") as f:
    f.write("web=%d mail=%d\n" % (web.server_address[1], mail.server_address[1]))
os.rename(top + "/ports.new", top + "/ports")
web.serve_forever()
EOT
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=mail -addext subjectAltName=IP:127.0.0.1 \
    -keyout "$work/cert.key" -out "$work/cert" 2>/dev/null
: >"$work/got"
spawn servers /usr/bin/python3 "$work/servers.py" "$work"
await 20 "the servers" test -s "$work/ports"
. "$work/ports"
web=http://127.0.0.1:$web

cat >"$work/sendmail" <<EOT
#!/bin/sh
echo "\$*" >"$work/sendmail.args"
cat >"$work/sendmail.new" && mv "$work/sendmail.new" "$work/letter"
EOT
cat >"$work/bin/curl" <<EOT
#!/bin/sh
printf '%s\n' "\$@" >>"$work/curl.args"
exec $(command -v curl) "\$@"
EOT
chmod +x "$work/sendmail" "$work/bin/curl"
# What it needs and no curl.
for t in sh awk base64 cat cut date head iconv od python3 sed sha256sum tr; do
    ln -s "$(command -v /usr/bin/$t || command -v $t)" "$work/few/$t"
done

cat >"$work/judge.py" <<'EOT'
"""usage: judge.py GOT WAYS LETTER: what came by each of the ways, and no more, says what variables say."""
import base64, email, email.policy, hashlib, hmac, json, os, re, sys, time, urllib.parse

want = os.environ
got = [json.loads(x) for x in open(sys.argv[1])]
ways = sys.argv[2].split()
title = "gpurun: %s %s" % (want["NAME"], want["WHAT"])
command = want["COMMAND"].replace("\t", " ")


def check_text(text):
    lines = text.replace("\t", " ").split("\n") # JSON has no tab; a letter may
    assert lines[0] == "%s: %s" % (want["HOST"], command.split("\n")[0]), lines
    n = command.count("\n") + 1
    assert lines[1:n] == command.split("\n")[1:], lines
    assert re.fullmatch(want["COST"], lines[n]), lines
    if "DATA" in want:
        assert re.fullmatch(want["DATA"], lines[n + 1]), lines


def one(rows):
    assert len(rows) == 1, (rows, got)
    return rows[0]


def posted(path):
    row = one([g for g in got if g.get("path") == path])
    assert row["type"] == "application/json", row
    return row, json.loads(row["body"].encode("latin-1").decode("utf-8"))


def check_chat(body):
    assert set(body) == {"msgtype", "text"} and body["msgtype"] == "text" and set(body["text"]) == {"content"}, body
    content = body["text"]["content"]
    assert len(content.encode()) <= 2048 and content.startswith(title + "\n"), content
    check_text(content[len(title) + 1:])


def check_mail(data):
    for line in data.split("\n\n")[0].replace("\r", "").split("\n"):
        assert len(line) <= 76, line
    m = email.message_from_string(data, policy=email.policy.default)
    assert not m.defects and not [d for h in m.values() for d in h.defects], m.items()
    assert m["Subject"] == title, m["Subject"]
    assert m["To"] == "me@example.org" and m["MIME-Version"] == "1.0", m.items()
    assert abs(m["Date"].datetime.timestamp() - time.time()) < 600, m["Date"]
    assert m.get_content_type() == "text/plain" and m.get_content_charset() == "utf-8"
    check_text(m.get_content().replace("\r\n", "\n").rstrip("\n"))
    return m


if "wecom" in ways:
    row, body = posted("/cgi-bin/webhook/send")
    assert row["query"] == {"key": [want["WECOM_KEY"]]}, row
    check_chat(body)
if "dingtalk" in ways:
    row, body = posted("/robot/send")
    secret = want.get("DINGTALK_SECRET")
    if secret:
        at = row["query"]["timestamp"][0]
        assert abs(int(at) / 1000 - time.time()) < 600, at
        sign = hmac.new(secret.encode(), (at + "\n" + secret).encode(), hashlib.sha256).digest()
        sign = urllib.parse.quote_plus(base64.b64encode(sign))
        assert row["raw_query"].endswith("&timestamp=%s&sign=%s" % (at, sign)), row
        row["query"].pop("timestamp"), row["query"].pop("sign")
    assert row["query"] == {"access_token": [want["DINGTALK_TOKEN"]]}, row
    check_chat(body)
if "serverchan" in ways:
    row, body = posted("/%s.send" % want["SERVERCHAN_KEY"])
    assert set(body) == {"title", "desp"} and not row["query"], body
    assert len(body["title"]) <= 32 and body["title"].endswith(" " + want["WHAT"]), body["title"]
    assert want["NAME"].startswith(body["title"][:-len(want["WHAT"]) - 1]), body["title"]
    lines = body["desp"].rstrip("\n").split("\n\n")
    assert lines[0] == title, lines
    check_text("\n".join(lines[1:]))
if "smtp" in ways:
    row = one([g for g in got if "mail" in g])
    assert row["auth"] == ["", "me@example.org", want["SMTP_PASSWORD"]], row
    assert row["from"].startswith("FROM:<me@example.org>") and [t.split()[0] for t in row["to"]] == ["TO:<me@example.org>"], row
    assert check_mail(row["mail"])["From"] == "me@example.org"
if "sendmail" in ways:
    assert check_mail(open(sys.argv[3]).read())["From"] is None
assert len(got) == len(ways) - ("sendmail" in ways), got
EOT
judge() { # HOW NAME=VALUE...: of what came since the last time
    local how=$1
    shift
    env "$@" /usr/bin/python3 "$work/judge.py" "$work/got" "$how" "$work/letter" >"$work/verdict" 2>&1 ||
        fail "$how: $(cat "$work/verdict" "$work/got")"
    rm -f "$work/letter"
    : >"$work/got"
}
came() { [ "$(wc -l <"$work/got")" -ge "$1" ]; }

# 67 characters, as 钉钉 makes them, and so more than a block of the hash.
secret=SEC0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
name='夜班 "a\b" 的第一次训练 $(id) `id`'
# shellcheck disable=SC2016
odd=$'two "quotes" and \\a backslash\\\nanother line, 中文\ttab %s $HOME `id` \'x\' {"a": 1}'
words="sh -c exit 3 sh $odd"
urls=(WECOM_URL="$web/cgi-bin/webhook/send" DINGTALK_URL="$web/robot/send" SERVERCHAN_URL="$web")
kept='snapshot s[0-9a-z]*, kept until 20[-0-9T:]*Z'

note "here, in Chinese: all four at once; 钉钉 signs, and no key is on a command line"
keys=(WECOM_KEY=wecom-7 DINGTALK_TOKEN=ding-7 DINGTALK_SECRET="$secret" SERVERCHAN_KEY=SCT7T)
run as_client PATH="$work/bin:$PATH" LC_ALL=zh_CN.UTF-8 "${urls[@]}" "${keys[@]}" MAIL_TO=me@example.org SENDMAIL="$work/sendmail" \
    "$BUILD/bin/gpurun" --name "$name" --notify "sh $script" -- sh -c 'exit 3' sh "$odd"
[ "$rc" = 3 ] || fail "exit status $rc"
await 30 "three posts" came 3
await 30 "a letter" test -s "$work/letter"
judge "wecom dingtalk serverchan sendmail" "${keys[@]}" NAME="$name" WHAT='已结束（exited，退出码 3）' COMMAND="$words" HOST=local \
    COST='费用 ¥0.00，上限 ¥0.00|¥0.00' DATA='数据：快照 s[0-9a-z]*，保留到 20[-0-9T:]*Z'
[ "$(cat "$work/sendmail.args")" = "-t -i" ] || fail "sendmail $(cat "$work/sendmail.args")"
[ "$(grep -c '^-sS$' "$work/curl.args")" = 3 ] || fail "curl was not looked at: $(cat "$work/curl.args")"
for k in wecom-7 ding-7 SCT7T sign= ; do
    hasnt $k "$work/curl.args"
done

note "there, by itself in the command and with keys that are secrets, in English; mail by SMTP over TLS"
client_key
new_host h
expect 0 gpurun -q host add h "127.0.0.1:${port[h]}"
keys=(WECOM_KEY=wecom-8 DINGTALK_TOKEN=ding-8 SERVERCHAN_KEY=SCT8T SMTP_PASSWORD='a"b\c d')
: >"$work/curl.args"
run as_client "${keys[@]}" "$BUILD/bin/gpurun" --host h --name "$name" --notify-host "$(cat "$script")" \
    --env PATH="$work/bin:$PATH" "${urls[@]/#/--env=}" --env MAIL_TO=me@example.org --env SMTP_URL="smtps://127.0.0.1:$mail" \
    --env SMTP_USER=me@example.org --env CURL_CA_BUNDLE="$work/cert" \
    --secret WECOM_KEY --secret DINGTALK_TOKEN --secret SERVERCHAN_KEY --secret SMTP_PASSWORD -- sh -c 'exit 3' sh "$odd"
[ "$rc" = 3 ] || fail "exit status $rc"
await 30 "three posts and a letter" came 4
judge "wecom dingtalk serverchan smtp" "${keys[@]}" NAME="$name" WHAT='ended (exited 3)' COMMAND="$words" HOST="$(hostname)" \
    COST='¥0.00 of ¥0.00|¥0.00' DATA="data: $kept"
[ "$(grep -c '^-sS$' "$work/curl.args")" = 4 ] || fail "curl was not looked at: $(cat "$work/curl.args")"
for k in wecom-8 ding-8 SCT8T 'a"b'; do
    hasnt "$k" "$work/curl.args"
done

note "a job that is lost has no secrets any more: its keys come from a file; by python3, where no curl is"
of() { sed -n "s/^$1=//p" "$(dirname "$(grep -lxF name=gone "$work"/h/home/.local/share/gpurun-agent/renters/*/jobs/*/state)")/state"; }
mkdir -p "$work/h/home/.config"
(umask 077; echo "WECOM_KEY='wecom-9'" >"$work/h/home/.config/gpurun-notify")
expect 0 gpurun -q -d --host h --name gone --notify-host "sh $script" --env PATH="$work/few" "${urls[@]/#/--env=}" -- /bin/sleep 600
runs() { [ "$(of state)" = running ]; }
await 60 "it runs" runs
kill -KILL "$(of pid)"
found_lost() {
    env -i PATH="$PATH" HOME="$work/h/home" "$BUILD/bin/gpurun-agent" tick
    [ "$(of state)" = lost ]
}
await 60 "it is found lost" found_lost
await 30 "a post" came 1
judge wecom WECOM_KEY=wecom-9 NAME=gone WHAT=lost COMMAND='/bin/sleep 600' HOST="$(hostname)" COST='¥0.00 of ¥0.00|¥0.00'

note "what is refused is told, and that nothing is set"
expect 0 as_client "${urls[@]}" WECOM_KEY=refused "$BUILD/bin/gpurun" --name no --notify "sh $script" -- true
has "--notify (ended) failed: 'sh $script' ended with exit code 1" "$work/err"
has '企业微信: {"errcode": 93000, "errmsg": "invalid webhook url"}' "$work/err"
expect 0 gpurun --name none --notify "sh $script" -- true
has "--notify (ended) failed: 'sh $script' ended with exit code 2" "$work/err"
has .config/gpurun-notify "$work/err"
: >"$work/got"

note "each event has words, in each shell; a command that is cut in a character is whole JSON"
facts() { # EVENT WORD...
    env -i PATH="$PATH" HOME="$client" "${urls[@]}" WECOM_KEY=k DINGTALK_TOKEN=t DINGTALK_SECRET="$secret" GPURUN_EVENT="$1" \
        GPURUN_NAME=n GPURUN_HOST=h GPURUN_COMMAND="$(printf '中%.0s' {1..200})" GPURUN_COST=1.20 GPURUN_CAP=3.00 \
        GPURUN_REASON=stopped GPURUN_EXIT=143 LANG="${lang:-C}" "${@:2}" "$script"
}
long=$(printf '中%.0s' {1..133})
for shell in dash "bash --posix" "busybox sh"; do
    command -v ${shell% *} >/dev/null || continue
    # shellcheck disable=SC2086
    facts ended $shell || fail "$shell"
    judge "wecom dingtalk" WECOM_KEY=k DINGTALK_TOKEN=t DINGTALK_SECRET="$secret" NAME=n WHAT="ended (stopped 143)" COMMAND="$long" HOST=h COST='¥1.20 of ¥3.00'
done
lang=zh_CN.UTF-8
while read -r event what; do
    facts "$event" sh || fail "$event"
    judge "wecom dingtalk" WECOM_KEY=k DINGTALK_TOKEN=t DINGTALK_SECRET="$secret" NAME=n WHAT="$what" COMMAND="$long" HOST=h COST='费用 ¥1.20，上限 ¥3.00'
done <<'EOT'
cost-50 费用已达上限的 50 %
cost-80 费用已达上限的 80 %
cost-100 费用达到上限
limit 还能运行十分钟
ended 已结束（stopped，退出码 143）
failed 未能运行（stopped，退出码 143）
lost 失踪
expires-3d 的数据 3 天内到期
expires-1d 的数据 1 天内到期
parking 主机即将停机
park-failed 主机停机失败
EOT

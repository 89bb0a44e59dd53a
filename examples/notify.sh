#!/bin/sh
# Tells of a job by 企业微信, 钉钉, Server酱 or e-mail: a command for --notify and --notify-host.
# 用企业微信、钉钉、Server酱或电子邮件报告作业的消息：供 --notify 与 --notify-host 使用的命令。
#
#   WECOM_KEY                        企业微信: key= of the robot's address (机器人地址中的 key=)
#   DINGTALK_TOKEN, DINGTALK_SECRET  钉钉: access_token= of the same; SEC… of one that signs (加签)
#   SERVERCHAN_KEY                   Server酱: SendKey
#   MAIL_TO, MAIL_FROM               e-mail (电子邮件), by sendmail or
#   SMTP_URL, SMTP_USER, SMTP_PASSWORD   by curl: smtps://smtp.example.com, the password for SMTP (授权码)
#
# By all that are set; if none is, ~/.config/gpurun-notify is read: lines of NAME='VALUE', for nobody
# else to read (chmod 600). 用已设置的全部方式；都没有设置时读取该文件，每行一个 NAME='VALUE'。
# In Chinese where LANG is zh…. Needs curl, or python3 for all but SMTP. No key is on a command line.
[ -n "$WECOM_KEY$DINGTALK_TOKEN$SERVERCHAN_KEY$MAIL_TO" ] || . "$HOME/.config/gpurun-notify"
lang=${LC_ALL:-${LC_MESSAGES:-$LANG}}
export LC_ALL=C
failed=0

# ---- tools ----

quoted() { sed 's/[\\"]/\\&/g'; }
json() { # TEXT: as it stands in a string
    printf %s "$1" | tr '\001-\011\013-\037' ' ' | quoted | awk '{ printf "%s%s", n, $0; n = "\\n" }'
}
whole() { # without half a character
    if command -v iconv >/dev/null; then iconv -c -f UTF-8 -t UTF-8 2>/dev/null; else cat; fi
}
pieces() { # N: a line in lines of so many characters
    awk -v n="$1" '{
        for (i = 1; i <= length($0); i++) {
            c = substr($0, i, 1)
            if ((c < "\200" || c >= "\300") && k++ == n) { print w; w = ""; k = 1 }
            w = w c
        }
        print w
    }'
}
bytes() { # HEX N: its bytes, each XOR N
    h=$1
    while [ -n "$h" ]; do
        t=${h#??}
        b=$((0x${h%"$t"} ^ $2))
        printf "\\$((b >> 6))$((b >> 3 & 7))$((b & 7))"
        h=$t
    done
}
sha() { sha256sum | cut -c 1-64; }
hmac() { # KEY: of stdin (RFC 2104); openssl would want the key on its command line
    k=$(printf %s "$1" | od -An -v -tx1 | tr -d ' \n')
    [ ${#k} -le 128 ] || k=$(printf %s "$1" | sha)
    while [ ${#k} -lt 128 ]; do k=${k}00; done
    i=$({ bytes "$k" 0x36 && cat; } | sha)
    { bytes "$k" 0x5c && bytes "$i" 0; } | sha
}
by_curl() { # the address, and what else is secret, in K
    curl -sS -m 25 "$@" -K /dev/fd/3 3<<END
$K
END
}
by_python() {
    python3 -c '
import os, sys, urllib.request as u
r = u.Request(os.environ["U"], sys.stdin.buffer.read(), {"Content-Type": "application/json"})
sys.stdout.buffer.write(u.urlopen(r, timeout=25).read())'
}
post() { # WHO URL JSON
    K="url = \"$2\""
    if command -v curl >/dev/null; then
        a=$(printf %s "$3" | by_curl -H 'Content-Type: application/json' --data-binary @-)
    else
        a=$(printf %s "$3" | U=$2 by_python)
    fi
    case $(printf %s "$a" | tr -d ' \n') in
    *'code":0'[,}]*) ;;
    *) echo "notify.sh: $1: $a" >&2 && failed=1 ;;
    esac
}

# ---- what is told ----

case $lang in
zh*)
    case $GPURUN_EVENT in
    cost-100) what=费用达到上限 ;;
    cost-*) what="费用已达上限的 ${GPURUN_EVENT#cost-} %" ;;
    limit) what=还能运行十分钟 ;;
    ended) what="已结束（$GPURUN_REASON，退出码 $GPURUN_EXIT）" ;;
    failed) what="未能运行（$GPURUN_REASON，退出码 $GPURUN_EXIT）" ;;
    lost) what=失踪 ;;
    expires-1d) what="的数据 1 天内到期" ;;
    expires-3d) what="的数据 3 天内到期" ;;
    parking) what=主机即将停机 ;;
    park-failed) what=主机停机失败 ;;
    *) what=$GPURUN_EVENT ;;
    esac
    cost="费用 ¥$GPURUN_COST，上限 ¥$GPURUN_CAP"
    data="数据：快照 $GPURUN_SNAPSHOT，保留到 $GPURUN_EXPIRES" ;;
*)
    what=$GPURUN_EVENT
    case $what in ended | failed) what="$what ($GPURUN_REASON $GPURUN_EXIT)" ;; esac
    cost="¥$GPURUN_COST of ¥$GPURUN_CAP"
    data="data: snapshot $GPURUN_SNAPSHOT, kept until $GPURUN_EXPIRES" ;;
esac
[ "$GPURUN_CAP" != 0.00 ] || cost=¥$GPURUN_COST
title="gpurun: $GPURUN_NAME $what"
text=$(
    printf '%s: %.400s\n%s' "$GPURUN_HOST" "$GPURUN_COMMAND" "$cost" | whole
    [ -z "$GPURUN_SNAPSHOT" ] || printf '\n%s' "$data"
    [ -z "$GPURUN_DETAIL" ] || printf '\n%.400s' "$GPURUN_DETAIL" | whole
)

# ---- how ----

chat() { printf '{"msgtype":"text","text":{"content":"%s"}}' "$(json "$title
$text")"; }
if [ -n "$WECOM_KEY" ]; then
    post 企业微信 "${WECOM_URL:-https://qyapi.weixin.qq.com/cgi-bin/webhook/send}?key=$WECOM_KEY" "$(chat)"
fi
if [ -n "$DINGTALK_TOKEN" ]; then
    sign=
    if [ -n "$DINGTALK_SECRET" ]; then
        now=$(date +%s)000
        sign=$(printf '%s\n%s' "$now" "$DINGTALK_SECRET" | hmac "$DINGTALK_SECRET")
        sign=$(bytes "$sign" 0 | base64 | sed 's/+/%2B/g; s,/,%2F,g; s/=/%3D/g')
        sign="&timestamp=$now&sign=$sign"
    fi
    post 钉钉 "${DINGTALK_URL:-https://oapi.dingtalk.com/robot/send}?access_token=$DINGTALK_TOKEN$sign" "$(chat)"
fi
if [ -n "$SERVERCHAN_KEY" ]; then
    case $SERVERCHAN_KEY in
    sctp*t*) u=${SERVERCHAN_KEY#sctp} && u=https://${u%%t*}.push.ft07.com/send ;;
    *) u=https://sctapi.ftqq.com ;;
    esac
    # It takes 32 characters of a title; line breaks only in pairs.
    short=$(printf %s "$GPURUN_NAME" | pieces 12 | head -n 1)
    short=$(printf %s "$short $what" | pieces 32 | head -n 1)
    body=$(printf '%s\n%s' "$title" "$text" | sed G)
    post Server酱 "${SERVERCHAN_URL:-$u}/$SERVERCHAN_KEY.send" \
        "{\"title\":\"$(json "$short")\",\"desp\":\"$(json "$body")\"}"
fi
letter() {
    [ -z "$from" ] || echo "From: $from"
    printf 'To: %s\nDate: %s\nSubject:' "$MAIL_TO" "$(date -R)"
    printf %s "$title" | pieces 9 | while IFS= read -r w; do
        printf ' =?UTF-8?B?%s?=\n' "$(printf %s "$w" | base64 | tr -d '\n')"
    done
    printf 'MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n'
    printf '%s\n' "$text" | base64
}
if [ -n "$MAIL_TO" ]; then
    from=${MAIL_FROM:-$SMTP_USER}
    if [ -n "$SMTP_URL" ]; then
        K="url = \"$SMTP_URL\"
mail-from = \"$from\"
mail-rcpt = \"$MAIL_TO\""
        [ -z "$SMTP_USER" ] || K="$K
ssl-reqd
user = \"$(printf %s "$SMTP_USER:$SMTP_PASSWORD" | quoted)\""
        letter | by_curl --crlf -T - || failed=1
    else
        letter | "${SENDMAIL:-/usr/sbin/sendmail}" -t -i || failed=1
    fi
fi
exit $failed

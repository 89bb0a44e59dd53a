# usage: awk -f layers.awk FILE...
# Fails if a file includes a header of a folder that its own may not know: what
# may know what is written here and nowhere else. A layer is a top-level folder,
# or a part of runner/; tests/ may use all.
BEGIN {
    allow("base",          "")
    allow("meter",         "base")
    allow("storage",       "base")
    allow("images",        "base storage")
    shared = "base meter storage images"
    allow("runner/wire",   shared)
    allow("runner/job",    shared)
    allow("runner/loop",   shared " runner/wire")
    both = shared " runner/wire runner/job runner/loop"
    allow("runner/host",   both)
    allow("runner/client", both)
    allow("runner/book",   "base meter runner/wire runner/job runner/loop")
    allow("runner/cli",    both " runner/client")
    allow("runner/probe",  "base")
    allow("runner/static", "base storage")
}
function allow(home, list) { may[home] = " " home " " list " " }
function layer(path,    part) {
    split(path, part, "/")
    return part[1] == "runner" ? "runner/" part[2] : part[1]
}
function complain(text) {
    printf "%s:%d: %s\n", FILENAME, FNR, text
    bad = 1
}
FNR == 1 {
    home = layer(FILENAME)
    if (!(home in may) && home != "tests") {
        complain(home "/ has no place among the layers (tests/lint/layers.awk)")
    }
}
home == "tests" { next }
/^[ \t]*#[ \t]*include[ \t]*"/ {
    target = $0
    sub(/^[^"]*"/, "", target)
    sub(/".*/, "", target)
    if (target !~ /\//) {
        complain("include \"" target "\" by its folder")
    } else if (index(may[home], " " layer(target) " ") == 0) {
        complain(home "/ may not know " layer(target) "/")
    } else if (target ~ /_internal\.h$/ && layer(target) != home) {
        complain(target " is internal to " layer(target) "/")
    }
}
# Only the loop's folder and what runs on it know libuv; only the client libssh.
/^[ \t]*#[ \t]*include[ \t]*<uv\.h>/ && home !~ /^runner\// { complain(home "/ may not know libuv") }
/^[ \t]*#[ \t]*include[ \t]*<libssh\// && home != "runner/client" { complain(home "/ may not know libssh") }
END { exit bad }

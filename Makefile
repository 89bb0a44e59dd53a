# make                  all programs, into build/dev/
# make demo             the tour: two private hosts, a real training, the bills
# make test             everything that is tested; ONLY=pattern runs a part
# make lint             format, tidy, layers, headers, no-float
# make deps             Debian's packages (tests/packages) that are missing
# make fuzz cov mutants soak bench bench-meter bench-storage vectors    see the targets
# make install          DESTDIR=, PREFIX=/usr/local
# make deb              a Debian package, build/dev/gpurun_VERSION_ARCH.deb
# make cross            with an agent for aarch64 hosts beside the one for this machine's
# make static           the client as one static binary, bin/gpurun-static, and with all it needs a tar of it:
#                       build/dev/gpurun-static_VERSION_ARCH.tar.gz, which runs wherever it is unpacked
#
# Knobs: V=1 (whole command lines), DEV=1 (warnings are errors), SAN=address,undefined or SAN=thread,
# COV=1, each of the last three in a build folder of its own.
#
# A build folder is laid out like an installation, so a program finds its
# parts relative to its own binary in one way:
#
#   bin/gpurun                              the client
#   bin/gpurun-static                       the same without a shared library: `make static`
#   bin/gpurun-agent                        for owners: a link to the one in lib/
#   bin/gpurun-book                         for operators
#   lib/gpurun/agent/ARCH/gpurun-agent      static; the client copies it to hosts
#   lib/gpurun/agent/ARCH/gpurun-gpuprobe   dynamic; goes with it
#   lib/gpurun/agent/ARCH/gpurun-agent.dyn  dynamic, for tests only: not installed
#   share/gpurun/                           devices.d, cards, examples' scripts
#   share/man, share/locale, share/bash-completion, share/zsh, share/fish   (installed only)
#
# ARCH is `uname -m` of the machine the file runs on.

VERSION    = 0.1.0
CC         = gcc
# What a sanitizer or gcov adds costs more than -O2 gains, and compiling is half of such a run.
CFLAGS     = $(if $(SAN)$(COV),-O1 -g1,-O2 -g)
PKG_CONFIG = pkg-config
PREFIX     = /usr/local
DESTDIR    =
ARCH      := $(shell uname -m)
NPROC     := $(shell nproc)
PAR        = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(NPROC))

comma  := ,
Q      := $(if $(V),,@)
say     = @mkdir -p $(@D)$(if $(V),,; printf '  %-4s %s\n' $(1) $(2))
FLAVOR := $(if $(FUZZ),fuzz,$(if $(SAN)$(COV),$(if $(COV),cov)$(if $(SAN),$(if $(COV),-)$(subst $(comma),-,$(SAN))),dev))
B      := build/$(FLAVOR)

SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
SANLINK  := $(if $(SAN),-Wl$(comma)-u$(comma)san_options_here)
# Counters of several threads are right only if atomic, which under a sanitizer takes half as long again.
COVFLAGS := $(if $(COV),--coverage $(if $(SAN),,-fprofile-update=atomic))
COVLINK  := $(if $(COV),-Wl$(comma)--wrap=_exit)
ifdef FUZZ
CC       = clang
FUZZFLAGS := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
endif
# Hardening; sanitizers and coverage bring checks of their own.
HARDEN := $(if $(SAN)$(COV)$(FUZZ),,-D_FORTIFY_SOURCE=2 -fstack-protector-strong)

WARN := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes \
        -Wmissing-prototypes -Wformat=2 -Wundef -Wvla -Wimplicit-fallthrough
# Not with a sanitizer or gcov: what they add makes gcc see what is not there.
WERROR := $(if $(DEV),$(if $(SAN)$(COV)$(FUZZ),,-Werror))

# pkg-config is asked at most once, and only when something is compiled: on a
# fresh machine it comes with `make deps`, in this same run.
once = $(eval $(1) := $(2))$($(1))
PKGS_BASE   = libcrypto jansson sqlite3 libzstd
PKGS_CLIENT = libssh libarchive
PKGS        = $(PKGS_BASE) libuv $(PKGS_CLIENT)
PKG_CFLAGS  = $(call once,PKG_CFLAGS,$(shell $(PKG_CONFIG) --cflags $(PKGS)))
LIBS        = $(call once,LIBS,$(shell $(PKG_CONFIG) --libs $(PKGS)) -lpthread)
AGENT_LIBS  = $(call once,AGENT_LIBS,$(shell $(PKG_CONFIG) --libs $(PKGS_BASE) libuv) -lpthread)
AGENT_LIBS_STATIC = $(call once,AGENT_LIBS_STATIC,$(shell \
    $(PKG_CONFIG) --static --libs libuv-static $(PKGS_BASE)) -lpthread)
CMOCKA_LIBS = $(call once,CMOCKA_LIBS,$(shell $(PKG_CONFIG) --libs cmocka))

BASE_CFLAGS = -std=c11 -D_GNU_SOURCE -DGPURUN_VERSION='"$(VERSION)"' -I. $(WARN)
ALL_CFLAGS  = $(BASE_CFLAGS) $(HARDEN) $(SANFLAGS) $(COVFLAGS) $(FUZZFLAGS) $(CFLAGS) $(PKG_CFLAGS)
ALL_LDFLAGS = $(SANFLAGS) $(SANLINK) $(COVFLAGS) $(COVLINK) $(FUZZFLAGS) -Wl,--as-needed $(LDFLAGS)
OBJECTS     = $(filter %.o,$^) $(filter %.a,$^)
COMPILE     = $(CC) $(ALL_CFLAGS) $(EXTRA_CFLAGS) $(WERROR) -MMD -MP

# Every source is found; a main_*.c makes a program and is in no library.
not_main  = $(foreach f,$(1),$(if $(filter main_%,$(notdir $(f))),,$(f)))
LIB_DIRS := base meter storage images \
            runner/wire runner/job runner/loop runner/host runner/client runner/cli runner/book
LIB_SRC  := $(call not_main,$(wildcard $(addsuffix /*.c,$(LIB_DIRS))))
LIB_OBJ  := $(LIB_SRC:%.c=$(B)/%.o) $(B)/catalogs.o $(if $(COV),$(B)/tests/cov_exit.o) $(if $(SAN),$(B)/tests/san_options.o)
LIB      := $(B)/libgpurun.a
PROBE_SRC := $(filter-out runner/probe/cuda_runtime%,$(wildcard runner/probe/*.c))

UNIT_SRC := $(wildcard tests/unit/*/test_*.c)
UNIT_BIN := $(UNIT_SRC:%.c=$(B)/%)
TOOL_SRC := $(wildcard tests/tools/*.c)
TOOL_BIN := $(TOOL_SRC:%.c=$(B)/%)
SUBST_SRC := $(wildcard tests/libs/*.c)
SUBST_LIB := $(SUBST_SRC:%.c=$(B)/%.so)
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_BIN := $(FUZZ_SRC:%.c=$(B)/%)

SOURCES  := $(wildcard base/*.c meter/*.c storage/*.c images/*.c runner/*/*.c)
TESTS_C  := $(UNIT_SRC) $(TOOL_SRC) $(wildcard tests/tools/*/*.c tests/fuzz/*.c tests/bench/*.c tests/crash/*.c)
HEADERS  := $(wildcard base/*.h meter/*.h storage/*.h images/*.h runner/*/*.h \
              tests/*.h tests/*/*.h tests/*/*/*.h)

# A program is built as soon as its main is there.
AGENT_DIR := $(B)/lib/gpurun/agent/$(ARCH)
PROGRAMS  := $(if $(wildcard runner/cli/main_gpurun.c),$(B)/bin/gpurun) \
             $(if $(wildcard runner/book/main_book.c),$(B)/bin/gpurun-book) \
             $(if $(wildcard runner/host/main_agent.c),$(AGENT_DIR)/gpurun-agent \
                 $(AGENT_DIR)/gpurun-agent.dyn $(B)/bin/gpurun-agent) \
             $(if $(wildcard runner/probe/main_gpuprobe.c),$(AGENT_DIR)/gpurun-gpuprobe)
DATA      := $(wildcard devices.d/*.conf cards/* examples/*.sh)
DATA_BUILT := $(DATA:%=$(B)/share/gpurun/%)
PO         := $(wildcard po/*.po)
MO         := $(PO:po/%.po=$(B)/share/locale/%/LC_MESSAGES/gpurun.mo)

.PHONY: all static cross deps demo test check tests bench bench-meter bench-storage soak vectors fuzz fuzz-run cov cov-run mutants \
        print-compile print-test-libs \
        lint lint-all layers nofloat format headers tidy words po manuals install uninstall deb clean FORCE
.DELETE_ON_ERROR:
all: $(LIB) $(PROGRAMS) $(DATA_BUILT) $(MO)

$(LIB): $(LIB_OBJ)
	$(call say,AR,$@)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

# Each program is linked with its own side only: client and host are strangers, and may
# call things of their own by the same name.
CLIENT_LIB := $(B)/libclient.a
HOST_LIB   := $(B)/libhost.a
BOOK_LIB   := $(B)/libbook.a
$(CLIENT_LIB): $(filter-out $(B)/runner/host/% $(B)/runner/book/%,$(LIB_OBJ))
$(HOST_LIB): $(filter-out $(B)/runner/client/% $(B)/runner/cli/% $(B)/runner/book/%,$(LIB_OBJ))
$(BOOK_LIB): $(filter-out $(B)/runner/client/% $(B)/runner/cli/% $(B)/runner/host/%,$(LIB_OBJ))
$(CLIENT_LIB) $(HOST_LIB) $(BOOK_LIB):
	$(call say,AR,$@)
	@rm -f $@
	$(Q)$(AR) rcsT $@ $^

$(B)/%.o: %.c $(B)/flags
	$(call say,CC,$<)
	$(Q)$(COMPILE) -c -o $@ $<

$(B)/tests/san_options.o: EXTRA_CFLAGS = -DSAN_REPORTS='"$(abspath $(B))/reports/at"'

# Changed flags rebuild everything; unchanged ones leave the file's time alone.
$(B)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(subst ','\'',$(CC) $(ALL_CFLAGS))' | cmp -s - $@ || \
	    echo '$(subst ','\'',$(CC) $(ALL_CFLAGS))' > $@

$(B)/bin/gpurun: $(B)/runner/cli/main_gpurun.o $(CLIENT_LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(OBJECTS) $(LIBS)

# The same client for any Linux of this architecture: no loader, no shared library, no NSS
# module (runner/static). libssh.a has calls named like ours: they get other names.
STATIC_OBJ  := $(patsubst %.c,$(B)/%.o,$(wildcard runner/static/*.c))
STATIC_WRAP := $(foreach s,getaddrinfo freeaddrinfo,-Wl$(comma)--wrap=$(s)$(comma)--defsym=__wrap_$(s)=names_$(s))
STATIC_LIBS  = $(call once,STATIC_LIBS,$(filter-out -lssh -lacl -llz4 -lnettle -lxml2,$(shell \
    $(PKG_CONFIG) --static --libs libuv-static libcares $(PKGS_BASE) $(PKGS_CLIENT))) -lm -lpthread)
LIBSSH_A    := $(B)/static/libssh.a
$(LIBSSH_A): $(B)/flags
	@mkdir -p $(@D)
	$(Q)objcopy $(foreach s,_update _final,--redefine-sym sha256$(s)=libssh_sha256$(s)) \
	    "$$($(CC) -print-file-name=libssh.a)" $@
$(B)/bin/gpurun-static: $(B)/runner/cli/main_gpurun.o $(STATIC_OBJ) $(CLIENT_LIB) $(LIBSSH_A)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -static $(STATIC_WRAP) -o $@ $(filter %.o,$^) $(CLIENT_LIB) \
	    -Wl,--start-group $(LIBSSH_A) $(STATIC_LIBS) -Wl,--end-group 2>$(B)/static.log || \
	    { cat $(B)/static.log; exit 1; }
	@grep -v -e ': in function' -e 'in statically linked applications' $(B)/static.log || true
# An installation without what is dynamic: unpacked anywhere it runs. The same source gives the same bytes.
STATIC_TAR  := $(B)/gpurun-static_$(VERSION)_$(ARCH).tar.gz
STATIC_TREE := $(B)/static.tree
STATIC_TOP  := $(STATIC_TREE)/gpurun-$(VERSION)
static: all $(B)/bin/gpurun-static
	@rm -rf $(STATIC_TREE)
	@$(MAKE) -s $(PAR) install DESTDIR=$(abspath $(STATIC_TREE)) PREFIX=/gpurun-$(VERSION)
	@$(INSTALL) -s -m 755 $(B)/bin/gpurun-static $(STATIC_TOP)/bin/gpurun
	@rm $(STATIC_TOP)/bin/gpurun-book $(STATIC_TOP)/share/man/man8/gpurun-book.8
	@tar -C $(STATIC_TREE) --sort=name --owner=0 --group=0 --numeric-owner --mtime=@$$(stat -c %Y CHANGELOG.md) \
	    -c gpurun-$(VERSION) | gzip -9n >$(STATIC_TAR)
	@rm -rf $(STATIC_TREE)
	@echo $(STATIC_TAR)
# Built with the tests where its one library more is; not with a sanitizer or gcov.
STATIC_CLIENT := $(if $(SAN)$(FUZZ)$(COV),,$(if $(wildcard /usr/include/ares.h),$(B)/bin/gpurun-static))

$(B)/bin/gpurun-book: $(B)/runner/book/main_book.o $(BOOK_LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(OBJECTS) $(AGENT_LIBS)

# The agent goes to machines we know nothing of, hence static. Sanitizers cannot be linked so: those
# flavours test the dynamic one.
STATIC := $(if $(SAN)$(FUZZ),,1)
$(AGENT_DIR)/gpurun-agent: $(B)/runner/host/main_agent.o $(HOST_LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $(if $(STATIC),-static) -o $@ $(OBJECTS) \
	    $(if $(STATIC),$(AGENT_LIBS_STATIC),$(AGENT_LIBS)) 2>$(B)/agent.log || { cat $(B)/agent.log; exit 1; }
# libcrypto and libuv hold calls of names and dlopen, which we never make.
	@grep -v -e ': in function' -e 'in statically linked applications' $(B)/agent.log || true
$(AGENT_DIR)/gpurun-agent.dyn: $(B)/runner/host/main_agent.o $(HOST_LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(OBJECTS) $(AGENT_LIBS)
$(B)/bin/gpurun-agent: $(AGENT_DIR)/gpurun-agent
	@mkdir -p $(@D)
	@ln -sf ../lib/gpurun/agent/$(ARCH)/gpurun-agent $@

# The agent for hosts of another architecture, by Debian's cross compiler and libraries unpacked
# for it alone (packaging/sysroot); `make test` fetches both. Without them it is left out.
CROSS        := $(if $(SAN)$(COV)$(FUZZ),,$(filter-out $(ARCH),aarch64))
CROSS_CC     := $(if $(CROSS),$(shell command -v $(CROSS)-linux-gnu-gcc))
CROSS_ROOT   := build/sysroot/$(CROSS)
CROSS_READY  := $(if $(CROSS_CC),$(wildcard $(CROSS_ROOT)/complete))
CROSS_CFLAGS := $(BASE_CFLAGS) $(HARDEN) $(filter-out -g,$(CFLAGS)) -isystem $(CROSS_ROOT)/usr/include \
    -isystem $(CROSS_ROOT)/usr/include/$(CROSS)-linux-gnu
CROSS_LIBS   := -L$(CROSS_ROOT)/usr/lib/$(CROSS)-linux-gnu \
    -l:libuv_a.a -lsqlite3 -ljansson -lzstd -lcrypto -lm -ldl -lpthread
CB        := $(B)/cross/$(CROSS)
CROSS_DIR := $(B)/lib/gpurun/agent/$(CROSS)
CROSS_LIB := $(CB)/libhost.a
CROSS_OBJ := $(patsubst $(B)/%,$(CB)/%,$(filter-out $(B)/runner/client/% $(B)/runner/cli/% $(B)/runner/book/% \
    $(B)/tests/%,$(LIB_OBJ)))
CROSS_PROBE := $(PROBE_SRC:%.c=$(CB)/%.o) $(patsubst %.c,$(CB)/%.o,$(wildcard runner/probe/cuda_runtime_none.c))
CROSS_PROGRAMS := $(if $(CROSS_READY),$(CROSS_DIR)/gpurun-agent $(CROSS_DIR)/gpurun-gpuprobe)
all: $(CROSS_PROGRAMS)
$(CB)/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(Q)$(CROSS)-linux-gnu-gcc $(CROSS_CFLAGS) $(WERROR) -MMD -MP -c -o $@ $<
$(CB)/catalogs.o: $(B)/catalogs.c $(B)/flags
	@mkdir -p $(@D)
	$(Q)$(CROSS)-linux-gnu-gcc $(CROSS_CFLAGS) $(WERROR) -MMD -MP -c -o $@ $<
$(CROSS_LIB): $(CROSS_OBJ)
	$(call say,AR,$@)
	@rm -f $@
	$(Q)$(AR) rcsT $@ $^
$(CROSS_DIR)/gpurun-agent: $(CB)/runner/host/main_agent.o $(CROSS_LIB)
	$(call say,LD,$@)
	$(Q)$(CROSS)-linux-gnu-gcc -static -Wl,--as-needed -o $@ $(OBJECTS) $(CROSS_LIBS) 2>$(CB)/log || \
	    { cat $(CB)/log; exit 1; }
$(CROSS_DIR)/gpurun-gpuprobe: $(CROSS_PROBE) $(CROSS_LIB)
	$(call say,LD,$@)
	$(Q)$(CROSS)-linux-gnu-gcc -Wl,--as-needed -o $@ $(OBJECTS) -ldl -lpthread
# Both, fetching what is missing.
cross:
	@tests/deps cross
	@packaging/sysroot $(CROSS) $(CROSS_ROOT)
	@$(MAKE) --no-print-directory $(PAR) all

# NVML comes by dlopen in any case; the CUDA runtime only where a toolkit is.
NVCC := $(firstword $(shell command -v nvcc) $(wildcard /usr/local/cuda/bin/nvcc))
CUDA := $(if $(NVCC),$(abspath $(dir $(realpath $(NVCC)))/..))
CUDA_RT := $(if $(CUDA),$(if $(wildcard $(CUDA)/include/cuda_runtime_api.h),$(firstword \
    $(wildcard $(CUDA)/lib64/libcudart_static.a $(CUDA)/targets/*/lib/libcudart_static.a))))
PROBE_CUDA := $(if $(CUDA_RT),$(if $(wildcard runner/probe/cuda_runtime.c),1))
PROBE_RT   := $(if $(PROBE_CUDA),runner/probe/cuda_runtime.c,$(wildcard runner/probe/cuda_runtime_none.c))
PROBE_OBJ  := $(patsubst %.c,$(B)/%.o,$(PROBE_SRC) $(PROBE_RT))
$(B)/runner/probe/%.o: EXTRA_CFLAGS = $(if $(PROBE_CUDA),-DHAVE_CUDA_RUNTIME=1 -isystem $(CUDA)/include)
$(AGENT_DIR)/gpurun-gpuprobe: $(PROBE_OBJ) $(LIB)
	@mkdir -p $(@D)
	@$(if $(PROBE_CUDA),:,echo 'gpurun-gpuprobe: no CUDA toolkit (nvcc) here: built without the CUDA runtime, NVML only')
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(OBJECTS) $(if $(PROBE_CUDA),$(CUDA_RT) -lrt) -ldl -lpthread

$(B)/share/gpurun/%: %
	@mkdir -p $(@D)
	@cp $< $@
$(MO): $(B)/share/locale/%/LC_MESSAGES/gpurun.mo: po/%.po
	$(call say,MO,$<)
	$(Q)msgfmt --check-format --check-domain -o $@ $<
# In the agent, too, which a client copies alone.
$(B)/catalogs.c: $(MO) packaging/catalogs
	$(call say,GEN,$@)
	$(Q)packaging/catalogs $(MO) > $@
$(B)/catalogs.o: $(B)/catalogs.c $(B)/flags
	$(Q)$(COMPILE) -c -o $@ $<

# Tests -----------------------------------------------------------------

# Of a unit test's own code it does not matter how fast it is, nor which lines of it ran.
$(UNIT_SRC:%.c=$(B)/%.o): private CFLAGS = $(if $(COV),-O0,-O1 -g$(if $(SAN),1))
$(UNIT_SRC:%.c=$(B)/%.o): private COVFLAGS =
# Some 190 programs, anew in each flavour, by the linker that needs a third of the time, if it is here.
# Not for coverage: gold's --wrap is for shared libraries, too, and libuv.so has no such _exit.
TEST_LD := $(if $(FUZZ)$(COV),,$(if $(shell command -v ld.gold),-fuse-ld=gold))
.SECONDARY: $(UNIT_SRC:%.c=$(B)/%.o) $(TOOL_SRC:%.c=$(B)/%.o) $(FUZZ_SRC:%.c=$(B)/%.o)
$(UNIT_BIN): $(B)/%: $(B)/%.o $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $(TEST_LD) -o $@ $(OBJECTS) $(CMOCKA_LIBS) $(LIBS)
$(TOOL_BIN): $(B)/%: $(B)/%.o $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $(TEST_LD) -o $@ $(OBJECTS) $(LIBS)
# A tool of several files.
$(B)/tests/tools/model_store: $(patsubst %.c,$(B)/%.o,$(wildcard tests/tools/model/*.c))
$(B)/tests/tools/vectors: $(patsubst %.c,$(B)/%.o,$(wildcard tests/tools/vectors_ops/*.c))
# The agent with some of its calls intercepted: a hostile host.
HOSTILE      := $(B)/tests/tools/hostile/agent
HOSTILE_WRAP := rec_add_bytes offer_sign grant_charge sync_send_output sync_send_sent \
                sync_recv_output sync_recv_sent scan_next beneath_open tree_path_ok
$(HOSTILE): $(B)/tests/tools/hostile/lies.o $(B)/runner/host/main_agent.o $(HOST_LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $(HOSTILE_WRAP:%=-Wl,--wrap=%) -o $@ $(OBJECTS) $(AGENT_LIBS)
# A fuzzer brings a main; without one, ours replays the corpus.
FUZZ_MAIN := $(if $(FUZZ),,$(B)/tests/fuzz/main_replay.o)
$(FUZZ_BIN): $(B)/%: $(B)/%.o $(FUZZ_MAIN) $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $(TEST_LD) $(if $(FUZZ),-fsanitize=fuzzer) -o $@ $(OBJECTS) $(LIBS)
# Substitutes for vendors' libraries, bind-mounted over the real names by scenarios.
$(SUBST_LIB): $(B)/%.so: %.c $(B)/flags
	$(call say,CC,$<)
	$(Q)$(CC) $(BASE_CFLAGS) $(WERROR) $(CFLAGS) -shared -fPIC -o $@ $< -ldl
tests: all $(STATIC_CLIENT) $(UNIT_BIN) $(TOOL_BIN) $(HOSTILE) $(FUZZ_BIN) $(SUBST_LIB)

deps:
	@tests/deps

# Packages first, then make anew: what it found before they came is stale.
test:
	@tests/deps test
	@$(if $(CROSS),tests/deps cross && packaging/sysroot $(CROSS) $(CROSS_ROOT) || \
	    echo 'left out: the agent for $(CROSS) (packages of group cross in tests/packages, packaging/sysroot)')
	@$(MAKE) --no-print-directory $(PAR) tests
	@BUILD=$(B) tests/run $(ONLY)
check: tests
	@BUILD=$(B) tests/run $(ONLY)
demo:
	@tests/deps
	@$(MAKE) --no-print-directory $(PAR) all
	@BUILD=$(B) examples/demo

# Fails where a goal was missed, after all rows.
bench:
	@tests/deps bench
	@$(MAKE) --no-print-directory $(PAR) tests
	@/usr/bin/python3 tests/bench/bench.py --build $(B) $(if $(ONLY),--only '$(ONLY)')
# What metering costs against a bare SQLite insert loop; ROWS entries for the statement.
# ONLY=events|usage|ledger.
ROWS = 10000000
bench-meter:
	@tests/deps bench
	@$(MAKE) --no-print-directory $(PAR) $(B)/tests/tools/bench_meter $(B)/bin/gpurun
	@dir=$$(mktemp -d $(B)/bench-meter.XXXXXX) && trap 'rm -rf "$$dir"' EXIT && \
	    $(B)/tests/tools/bench_meter "$$dir" $(ROWS) $(ONLY)
# As bench.
bench-storage:
	@tests/deps bench
	@$(MAKE) --no-print-directory $(PAR) tests
	@/usr/bin/python3 tests/bench/storage.py --build $(B) $(if $(ONLY),--only '$(ONLY)')
soak:
	@tests/deps
	@$(MAKE) --no-print-directory $(PAR) tests
	@BUILD=$(B) tests/soak $(ONLY)
# make vectors FILE=billing.json: each vector's answer against the one it has.
FILE = tests/fixtures/vectors/billing.json
vectors: deps
	@$(MAKE) --no-print-directory $(PAR) $(B)/tests/tools/vectors
	@$(B)/tests/tools/vectors '$(FILE)'

# Every fuzz target for a while, from its corpus; what is new and shorter stays in build/.
FUZZ_SECONDS = 20
fuzz:
	@tests/deps fuzz
	@$(MAKE) --no-print-directory $(PAR) FUZZ=1 fuzz-run
fuzz-run: $(FUZZ_BIN)
	@BUILD=$(B) tests/fuzz/run $(FUZZ_SECONDS) $(ONLY)

# Line coverage of what is tested (KINDS="unit fuzz pipe": of that alone), with SAN=, too; below COV_MIN
# per cent it fails.
COV_MIN = 85
cov:
	@tests/deps
	@$(MAKE) --no-print-directory $(PAR) COV=1 cov-run
cov-run: tests
	@find $(B) -name '*.gcda' -delete
	@BUILD=$(B) SLOW=$(or $(SLOW),2) $(if $(SAN),,BRIEF=1) tests/run $(ONLY)
	@tests/cov $(B) $(COV_MIN)

# MUTANTS small mistakes, one at a time: do the tests see them? KEEP=DIR keeps the built tree.
MUTANTS = 200
mutants:
	@tests/deps mutants
	@tests/mutants --count $(MUTANTS) --jobs $(NPROC) $(if $(KEEP),--keep '$(KEEP)') $(ONLY)

# What tests/mutants compiles and links one changed file with.
print-compile:
	@echo '$(subst ','\'',$(CC) $(ALL_CFLAGS))'
print-test-libs:
	@echo '$(LIB) $(CMOCKA_LIBS) $(LIBS)'

# Lint ------------------------------------------------------------------
# What passed leaves a stamp, so only what changed is looked at again.

L          := build/lint
LINT_C     := $(filter-out $(if $(PROBE_CUDA),,runner/probe/cuda_runtime.c),$(SOURCES))
LINT_FLAGS  = $(BASE_CFLAGS) $(PKG_CFLAGS) $(if $(PROBE_CUDA),-isystem $(CUDA)/include)

# How far the analyzer goes into one function: with 225000, its own limit, all takes three times as long.
TIDY_NODES  = 50000
TIDY_DEPTH  = -Xclang -analyzer-config -Xclang max-nodes=$(TIDY_NODES)

lint:
	@tests/deps lint
	@$(MAKE) --no-print-directory -k $(PAR) lint-all
lint-all: layers nofloat format headers tidy words manuals
layers:
	@awk -f tests/lint/layers.awk $(HEADERS) $(SOURCES)
nofloat:
	@tests/lint/nofloat $(wildcard meter/*.[ch] storage/*.[ch])
format: $(L)/formatted
headers: $(HEADERS:%=$(L)/%.alone)
tidy: $(LINT_C:%=$(L)/%.tidy)

# Every word a user reads is translated.
WORDS_C := $(filter-out runner/probe/% runner/static/%,$(SOURCES)) base/command.h
words:
	@tests/lint/words $(PO) -- $(WORDS_C)
# New strings into po/*.po, to be translated there; old ones out of it.
po:
	@tests/lint/words --update $(PO) -- $(WORDS_C)

# The manuals name every command and option there is, and none that is not.
MANUALS := $(if $(wildcard tests/tools/table_gpurun.c),man/gpurun.1) \
           $(if $(wildcard tests/tools/table_agent.c),man/gpurun-agent.8) \
           $(if $(wildcard tests/tools/table_book.c),man/gpurun-book.8)
manuals: $(MANUALS:%=$(L)/%.manual)
$(L)/man/gpurun.1.manual: $(B)/tests/tools/table_gpurun
$(L)/man/gpurun-agent.8.manual: $(B)/tests/tools/table_agent
$(L)/man/gpurun-book.8.manual: $(B)/tests/tools/table_book
$(L)/%.manual: % tests/lint/man
	@mkdir -p $(@D)
	@mandoc -Tlint -Wwarning $<
	@$(filter $(B)/%,$^) | tests/lint/man $(basename $(<F)) $<
	@touch $@

# Many at once: to start clang-format takes longer than to look at a file.
$(L)/formatted: .clang-format $(SOURCES) $(HEADERS) $(TESTS_C)
	@mkdir -p $(@D)
	@printf '%s\n' $(filter %.c %.h,$(if $(filter .clang-format,$?),$^,$?)) | \
	    xargs -P "$$(nproc)" -n 100 clang-format --dry-run -Werror
	@touch $@
$(L)/%.alone: %
	@mkdir -p $(@D)
	@$(CC) $(LINT_FLAGS) -Werror -fsyntax-only -MMD -MP -MF $@.d -MT $@ -x c -include $< /dev/null
	@touch $@
$(L)/%.tidy: % .clang-tidy
	$(call say,TIDY,$<)
	@$(CC) $(LINT_FLAGS) -MM -MP -MF $@.d -MT $@ $<
	@clang-tidy --quiet $< -- $(LINT_FLAGS) $(TIDY_DEPTH) 2>$@.log || { grep -v 'warnings\? generated' $@.log; false; }
	@touch $@

# Installation ----------------------------------------------------------

INSTALL  = install
INST     = $(DESTDIR)$(PREFIX)
AGENT_AT = $(INST)/lib/gpurun/agent/$(ARCH)
SHARE_AT = $(INST)/share
FISH_AT  = $(SHARE_AT)/fish/vendor_completions.d
install: all
	$(INSTALL) -d $(INST)/bin $(AGENT_AT) $(SHARE_AT)/gpurun $(SHARE_AT)/man/man1 $(SHARE_AT)/man/man8
	$(INSTALL) -s -m 755 $(B)/bin/gpurun $(B)/bin/gpurun-book $(INST)/bin
	$(INSTALL) -s -m 755 $(AGENT_DIR)/gpurun-agent $(AGENT_DIR)/gpurun-gpuprobe $(AGENT_AT)
	$(if $(CROSS_PROGRAMS),$(INSTALL) -d $(INST)/lib/gpurun/agent/$(CROSS) && $(INSTALL) -s \
	    --strip-program=$(CROSS)-linux-gnu-strip -m 755 $(CROSS_PROGRAMS) $(INST)/lib/gpurun/agent/$(CROSS))
	@$(if $(CROSS),$(if $(CROSS_PROGRAMS),,echo 'left out: the agent for $(CROSS) hosts, not built (make cross)' >&2))
	ln -sf ../lib/gpurun/agent/$(ARCH)/gpurun-agent $(INST)/bin/gpurun-agent
	$(foreach d,$(DATA),$(INSTALL) -D -m 644 $(d) $(SHARE_AT)/gpurun/$(d);)
	$(foreach m,$(wildcard man/*.1),$(INSTALL) -m 644 $(m) $(SHARE_AT)/man/man1;)
	$(foreach m,$(wildcard man/*.8),$(INSTALL) -m 644 $(m) $(SHARE_AT)/man/man8;)
	$(foreach m,$(MO),$(INSTALL) -D -m 644 $(m) $(m:$(B)/%=$(INST)/%);)
	$(foreach c,$(wildcard completions/*.bash),$(INSTALL) -D -m 644 $(c) \
	    $(SHARE_AT)/bash-completion/completions/$(basename $(notdir $(c)));)
	ln -sf gpurun $(SHARE_AT)/bash-completion/completions/gpurun-agent
	ln -sf gpurun $(SHARE_AT)/bash-completion/completions/gpurun-book
	$(foreach c,$(wildcard completions/_*),$(INSTALL) -D -m 644 $(c) \
	    $(SHARE_AT)/zsh/site-functions/$(notdir $(c));)
	$(INSTALL) -D -m 644 completions/gpurun.fish $(FISH_AT)/gpurun.fish
	$(foreach p,gpurun-agent gpurun-book,ln -sf gpurun.fish $(FISH_AT)/$(p).fish;)

# DEB_REVISION=: of a package anew from the same version.
DEB_REVISION = 1
DEB := $(B)/gpurun_$(VERSION)-$(DEB_REVISION)_$(shell dpkg --print-architecture 2>/dev/null).deb
deb:
	@tests/deps deb
	@rm -rf $(B)/deb
	@$(MAKE) -s $(PAR) install DESTDIR=$(abspath $(B))/deb PREFIX=/usr
	@packaging/deb $(abspath $(B))/deb $(VERSION)-$(DEB_REVISION) $(DEB)
	@rm -rf $(B)/deb
	@echo $(DEB)
uninstall:
	rm -rf $(INST)/lib/gpurun $(SHARE_AT)/gpurun
	rm -f $(INST)/bin/gpurun $(INST)/bin/gpurun-agent $(INST)/bin/gpurun-book
	rm -f $(foreach m,$(wildcard man/*.1),$(SHARE_AT)/man/man1/$(notdir $(m)))
	rm -f $(foreach m,$(wildcard man/*.8),$(SHARE_AT)/man/man8/$(notdir $(m)))
	rm -f $(MO:$(B)/%=$(INST)/%)
	rm -f $(foreach c,$(wildcard completions/*.bash),$(SHARE_AT)/bash-completion/completions/$(basename $(notdir $(c))))
	rm -f $(SHARE_AT)/bash-completion/completions/gpurun-agent $(SHARE_AT)/bash-completion/completions/gpurun-book
	rm -f $(foreach c,$(wildcard completions/_*),$(SHARE_AT)/zsh/site-functions/$(notdir $(c)))
	rm -f $(foreach p,gpurun gpurun-agent gpurun-book,$(FISH_AT)/$(p).fish)

clean:
	rm -rf build

-include $(if $(CROSS_READY),$(CROSS_OBJ:.o=.d) $(CROSS_PROBE:.o=.d) $(CB)/runner/host/main_agent.d)
-include $(LIB_OBJ:.o=.d) $(PROBE_OBJ:.o=.d) $(STATIC_OBJ:.o=.d) $(TESTS_C:%.c=$(B)/%.d)
-include $(B)/runner/cli/main_gpurun.d $(B)/runner/host/main_agent.d $(B)/runner/book/main_book.d
ifneq ($(filter lint-all headers tidy,$(MAKECMDGOALS)),)
-include $(HEADERS:%=$(L)/%.alone.d) $(LINT_C:%=$(L)/%.tidy.d)
endif

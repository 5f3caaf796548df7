#!/bin/sh
# Runs the checks that its arguments name, in a root file system of Debian packages; /check is where this file is, and /tmp
# can be written to. Prints for each
#   @start NAME
#   @same NAME TEXT       what has to be the same on every machine
#   @info NAME TEXT       what need not be
#   @T ok NAME, or @T FAIL NAME WHY
# The same file runs in the guest and, for comparison, on the host.
export PATH=/usr/bin:/usr/sbin HOME=/root LANG=C.UTF-8 LC_ALL=C.UTF-8 TZ=UTC PYTHONDONTWRITEBYTECODE=1
same() { echo "@same $name $*"; }
info() { echo "@info $name $*"; }
ok() { echo "@T ok $name"; }
bad() { echo "@T FAIL $name $*"; [ ! -s out ] || tail -n "${lines:-40}" out | sed 's/^/| /'; }
digest() { sha256sum | cut -c1-32; }
now() { read -r up rest </proc/uptime; echo "$up"; }

# What a processor has beyond x86-64-v2 changes the last bits of some of the library's mathematics.
export GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX,-AVX2,-FMA,-FMA4,-AVX512F

python() { # MODULE
  # A machine that is slow has time; tests that need the network or gigabytes stay out. Some tests compare times that they
  # measure, which others at work on the machine may disturb: what fails is run once more, and is told.
  python3.11 -m test -v -w --timeout 3600 -u cpu,decimal,subprocess "$1" >out 2>&1
  code=$?
  info "$(grep -E '^Ran [0-9]+ test' out | head -n 1), $(grep -cE '\.\.\. skipped ' out) skipped"
  [ $code = 0 ] && how=info || how=same
  grep -E '^(FAIL|ERROR): ' out | sort -u | while read -r line; do $how "$line"; done
  same "status $code"
  if [ $code = 0 ]; then ok; else bad "status $code"; fi
}

# A command whose output is the same everywhere.
check() { # WHAT COMMAND…
  what=$1
  shift
  if "$@" >out 2>err; then same "$what $(digest <out)"; else failed="$failed $what"; sed 's/^/| /' err | tail -n 5; fi
}
verdict() { : >out; if [ -z "$failed" ]; then ok; else bad "$failed"; fi; }

compiler() { # OPTIONS, with commas between them
  options=$(echo "$1" | tr , ' ')
  failed=
  check assembly sh -c 'gcc -w -S "$@" -o program.s /check/program.c && cat program.s' sh $options
  check program sh -c 'gcc -o program program.s -lm -pthread && cat program'
  check runs ./program
  info "$(wc -l </check/program.c) lines, $(wc -c <program) bytes"
  verdict
}

openssl_known() {
  failed=
  seq 100000 >data
  for hash in md5 sha1 sha224 sha256 sha384 sha512 sha512-256 sha3-256 sha3-512 shake256 blake2b512 blake2s256 sm3 ripemd160; do
    check $hash openssl dgst -$hash data
  done
  check hmac openssl dgst -sha256 -hmac key data
  key=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
  vector=f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff
  for cipher in aes-128-cbc aes-192-cbc aes-256-cbc aes-128-ctr aes-256-ctr aes-128-ecb aes-256-cfb aes-256-ofb chacha20 \
    camellia-256-cbc des-ede3-cbc aria-256-ctr sm4-cbc; do
    check $cipher openssl enc -$cipher -K $key -iv $vector -in data
    openssl enc -d -$cipher -K $key -iv $vector -in out 2>/dev/null | cmp -s - data || failed="$failed $cipher(back)"
  done
  check pbkdf2 openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt pass:word -kdfopt salt:salt -kdfopt iter:20000 PBKDF2
  check scrypt openssl kdf -keylen 64 -kdfopt pass:word -kdfopt salt:NaCl -kdfopt n:1024 -kdfopt r:8 -kdfopt p:4 SCRYPT
  check primes openssl prime 170141183460469231731687303715884105727 170141183460469231731687303715884105729
  verdict
}

openssl_keys() {
  failed=
  seq 1000 >data
  # A key that is always the same, from Python's tests; so are signatures by it, of PKCS #1 v1.5 and of Ed25519.
  rsa=/usr/lib/python3.11/test/keycert3.pem
  check rsa.sign openssl dgst -sha256 -sign $rsa data
  openssl pkey -in $rsa -pubout -out public 2>/dev/null && openssl dgst -sha256 -verify public -signature out data >err 2>&1 || failed="$failed rsa.verify"
  printf '%s\n' -----BEGIN\ PRIVATE\ KEY----- MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f -----END\ PRIVATE\ KEY----- >ed25519
  check ed25519.sign openssl pkeyutl -sign -rawin -in data -inkey ed25519
  for kind in rsa:2048 ec:prime256v1 ec:secp384r1 ec:secp521r1 ec:secp256k1 ec:brainpoolP256r1 ed25519 ed448; do
    case $kind in
      rsa:*) openssl genrsa -out private "${kind#rsa:}" ;;
      ec:*) openssl ecparam -name "${kind#ec:}" -genkey -noout -out private ;;
      *) openssl genpkey -algorithm "$kind" -out private ;;
    esac >err 2>&1 && openssl pkey -in private -pubout -out public >err 2>&1
    case $kind in
      ed*) openssl pkeyutl -sign -rawin -in data -inkey private -out signature &&
        openssl pkeyutl -verify -rawin -in data -pubin -inkey public -sigfile signature ;;
      *) openssl dgst -sha384 -sign private -out signature data && openssl dgst -sha384 -verify public -signature signature data ;;
    esac >err 2>&1 || { failed="$failed $kind"; cat err; }
    # A signature of something else must not do.
    cp data other; echo >>other
    case $kind in
      ed*) openssl pkeyutl -verify -rawin -in other -pubin -inkey public -sigfile signature ;;
      *) openssl dgst -sha384 -verify public -signature signature other ;;
    esac >err 2>&1 && failed="$failed $kind(forged)"
  done
  for curve in X25519 X448; do
    openssl genpkey -algorithm $curve -out one 2>err && openssl genpkey -algorithm $curve -out two 2>err &&
      openssl pkey -in one -pubout -out one.pub && openssl pkey -in two -pubout -out two.pub &&
      openssl pkeyutl -derive -inkey one -peerkey two.pub -out a && openssl pkeyutl -derive -inkey two -peerkey one.pub -out b &&
      cmp -s a b || failed="$failed $curve"
  done
  verdict
}

openssl_speed() {
  if openssl speed -seconds 1 -bytes 8192 md5 sha256 aes-128-cbc >out 2>&1 && openssl speed -seconds 1 -bytes 8192 -evp aes-128-gcm >>out 2>&1 &&
    openssl speed -seconds 1 ecdsap256 rsa2048 >>out 2>&1; then
    grep -E '^(md5|sha256|aes-128|AES-128|rsa|.*ecdsa)' out | tr -s ' ' | while read -r line; do info "$line"; done
    ok
  else bad "status $?"; fi
}

java_version() {
  failed=
  check version sh -c 'java -version 2>&1'
  cat out
  check interpreted sh -c 'java -Xint -version 2>&1'
  verdict
}

# Compiles a class and runs it: jdk.compiler is a program of some size by itself.
java_source() { # OPTIONS, with commas between them
  failed=
  check run java $(echo "$1" | tr , ' ') /check/Check.java
  verdict
}

cd /tmp || exit
for name; do
  echo "@start $name at $(now)"
  mkdir -p "/tmp/work" && cd "/tmp/work" || exit
  argument=${name#*.}
  case $name in
    python.*) python "$argument" ;;
    gcc.*) compiler "$argument" ;;
    openssl.known) openssl_known ;;
    openssl.keys) openssl_keys ;;
    openssl.speed) openssl_speed ;;
    java.version) java_version ;;
    java.source*) java_source "${argument#source}" ;;
    *) echo "@T FAIL $name is no check" ;;
  esac
  echo "@end $name at $(now)"
  cd /tmp && rm -rf /tmp/work
done
echo @done

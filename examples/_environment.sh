# Shared by the scripts of the README: a virtual environment with shipper in it, made when it is missing.

# python_of VENV ARGS...: the interpreter of that environment.
python_of() {
  local venv=$1
  shift
  "$venv/bin/python" "$@"
}

# newest_python: the newest interpreter from 3.11 on that really starts (a shim of a version manager may not).
newest_python() {
  local name
  for name in python3.14 python3.13 python3.12 python3.11 python3; do
    if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$name"
      return
    fi
  done
  echo "Python 3.11 or newer is needed (Debian: apt-get install python3)" >&2
  return 1
}

# environment VENV REQUIREMENT: installs REQUIREMENT ('.' or '.[test]') into VENV.
environment() {
  local venv=$1 requirement=$2 python
  python=${PYTHON:-$(newest_python)}
  if [ ! -x "$venv/bin/python" ] && ! "$python" -m venv "$venv" >/dev/null 2>&1; then
    rm -rf "$venv"
    echo "installing python3-venv, which Debian packs apart"
    if [ "$(id -u)" = 0 ]; then as_root=; else as_root=sudo; fi
    $as_root apt-get update -qq && $as_root apt-get install -y -qq python3-venv >/dev/null
    "$python" -m venv "$venv"
  fi
  echo "--- installing shipper into $venv ($("$venv/bin/python" -V))"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade "$requirement"
}

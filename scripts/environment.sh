# Sourced by the scripts beside it: makes the virtual environment .venv with everything `distill` needs.
#
# TORCH=cpu (default where there is no NVIDIA GPU) installs the CPU build of PyTorch; TORCH=cuda installs the ordinary build
# with CUDA. EXTRAS adds optional parts, e.g. EXTRAS=test,ace; ACE students' TensorFlow follows TORCH. PYTHON names the interpreter (3.11 or newer).

set -eu
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
if [ -z "${TORCH:-}" ]; then
    if command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1; then TORCH=cuda; else TORCH=cpu; fi
fi
TORCH_VERSION=$(sed -n 's/^torch==//p' constraints.txt)

fail() {
    echo "$1" >&2
    exit 2
}

need_venv() {
    "$PYTHON" -c 'import ensurepip, venv' >/dev/null 2>&1 && return
    package=$("$PYTHON" -c 'import sys; print(f"python3.{sys.version_info.minor}-venv")')
    run=""
    if [ "$(id -u)" != 0 ]; then run="sudo -n"; fi
    echo "Installing $package, which Debian and Ubuntu keep apart from Python"
    $run apt-get update -q && $run apt-get install -y -q "$package" || fail "Please install $package: sudo apt-get install $package"
}

install_torch() {
    case $TORCH in
        cuda) .venv/bin/pip install --quiet "torch==$TORCH_VERSION" ;;
        cpu)
            .venv/bin/pip install --quiet --retries 1 --no-deps "torch==$TORCH_VERSION+cpu" \
                --extra-index-url https://download.pytorch.org/whl/cpu ||
                fail "The CPU build of PyTorch $TORCH_VERSION could not be installed (message above). With a GPU, set TORCH=cuda."
            ;;
        *) fail "TORCH=$TORCH is unknown: cpu or cuda" ;;
    esac
}

make_environment() {
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        fail "Python 3.11 or newer is needed; set PYTHON to one, e.g. PYTHON=python3.12"
    stamp=".venv/.installed-$TORCH-$(cat constraints.txt pyproject.toml | sha256sum | cut -c 1-16)${EXTRAS:+-$EXTRAS}"
    if [ -e "$stamp" ]; then return; fi
    need_venv
    echo "Installing into .venv (a few minutes the first time)"
    export PIP_NO_COMPILE=1 # of 25 000 modules a few thousand are ever imported: Python compiles these when they are
    "$PYTHON" -m venv .venv
    .venv/bin/python -c 'import torch' >/dev/null 2>&1 || install_torch
    extras=${EXTRAS:-}
    case $TORCH,$extras, in cpu*,ace,*)
        extras=$(echo "$extras" | sed 's/^ace$//; s/^ace,//; s/,ace$//; s/,ace,/,/')
        .venv/bin/pip install --quiet --no-deps --requirement scripts/ace-cpu.txt ;;
    esac
    .venv/bin/pip install --quiet --constraint constraints.txt --editable ".${extras:+[$extras]}"
    touch "$stamp"
}

#!/usr/bin/env bash
# An environment for each side of extraction.py that needs one: peers.sh FOLDER [PYTHON].
# About 1.5 GB each. All get the torch, torchvision and timm of constraints.txt, so that the
# peers are compared and not the torch they would bring. thingsvision pins a torchvision and
# a TensorFlow of 2023: it is installed without its pins, with what it imports.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder="${1:?usage: peers.sh FOLDER [PYTHON]}"
python="${2:-python3}"

tested() { grep -E "^($1)==" constraints.txt; }

install() { # NAME ARGUMENTS...
  "$folder/$1/bin/python" -m pip install --quiet --disable-pip-version-check "${@:2}"
}

create() { # NAME NUMPY
  "$python" -m venv "$folder/$1"
  mapfile -t same < <(tested 'torch|torchvision|timm')
  mapfile -t plain < <(tested 'safetensors|pillow|huggingface_hub|typing_extensions|sympy')
  install "$1" --no-deps "${same[@]}"
  install "$1" "${plain[@]}" filelock fsspec jinja2 networkx pyyaml 'setuptools>=77' "$2"
}

numpy="$(tested numpy)"
create onnxruntime "$numpy"
install onnxruntime onnx onnxruntime
create img2vec "$numpy"
install img2vec --no-deps img2vec-pytorch==1.0.2
create embetter "$numpy"
install embetter embetter==0.9.1
create thingsvision 'numpy<2'
install thingsvision 'numpy<2' tensorflow-cpu h5py ftfy regex pandas scikit-image scikit-learn \
  scipy tqdm matplotlib numba
install thingsvision --no-deps thingsvision==2.7.3 torchtyping 'typeguard<3'
echo "python benchmarks/extraction.py --peers $folder"

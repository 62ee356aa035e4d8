"""Networks of timm's architecture that have a name here; any other is ``timm/NAME``.

Data only. :data:`LITE` have their weights in installed packages. :data:`TABLE` is taken
from timm's pretrained configurations; its files are on the Hugging Face hub under the
one name ``model.safetensors``, and the hub states their sha256.
"""

from __future__ import annotations

URL = "https://huggingface.co/{hub}/resolve/main/model.safetensors"

# The pixel statistics that trainings share: mean and standard deviation, R G B.
Pixels = tuple[tuple[float, float, float], tuple[float, float, float]]
PIXELS: dict[str, Pixels] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}

# Name, architecture with its training, parameters, input side, crop share, pixels, hub.
TABLE = """
dinov2_vits14       vit_small_patch14_dinov2.lvd142m      22056192 518 1.000 imagenet -
dinov2_vits14_reg   vit_small_patch14_reg4_dinov2.lvd142m 22057344 518 1.000 imagenet -
dinov2_vitb14       vit_base_patch14_dinov2.lvd142m       86579712 518 1.000 imagenet -
clip_vitb16         vit_base_patch16_clip_quickgelu_224.openai 86193152 224 0.900 clip \
vit_base_patch16_clip_224.openai
vit_s_16            vit_small_patch16_224.augreg_in21k_ft_in1k 22050664 224 0.900 half -
convnext_tiny_in12k convnext_tiny.in12k_ft_in1k           28589128 224 0.950 imagenet -
mobilenet_v4_small  mobilenetv4_conv_small.e2400_r224_in1k 3774024 224 0.875 imagenet -
"""

# Name, input side, file, sha256, bytes, parameters, extra. The pixel scaling of these
# networks is (x - 127) / 128 on 0..255, and their publisher crops 32 pixels off.
LITE = (
    (
        "efficientnet_lite0",
        224,
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        18_826_032,
        4_652_008,
        "",
    ),
    (
        "efficientnet_lite1",
        240,
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        21_946_926,
        5_416_680,
        "lite",
    ),
    (
        "efficientnet_lite2",
        260,
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        24_666_229,
        6_092_072,
        "lite",
    ),
)

"""Published weights files of the networks that have a name here, as data.

:data:`LITE` have their weights in installed packages. :data:`TIMM` is taken from timm's
pretrained configurations; its files are on the Hugging Face hub under the one name
``model.safetensors``, and the hub states their sha256. Any other network of timm's is
``timm/NAME``. :data:`TORCHVISION` is taken from torchvision's weights enums for classification
on ImageNet-1k; of one network's trainings the most accurate comes first, and the digits before
a file's suffix begin its sha256.
"""

from __future__ import annotations

TIMM_URL = "https://huggingface.co/{hub}/resolve/main/model.safetensors"

# Pixel statistics of trainings: mean and standard deviation, R G B.
Pixels = tuple[tuple[float, float, float], tuple[float, float, float]]
PIXELS: dict[str, Pixels] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}

# Name, architecture with its training, parameters, input side, crop share, pixels, hub.
TIMM = """
dinov2_vits14       vit_small_patch14_dinov2.lvd142m      22056192 518 1.000 imagenet -
dinov2_vits14_reg   vit_small_patch14_reg4_dinov2.lvd142m 22057344 518 1.000 imagenet -
dinov2_vitb14       vit_base_patch14_dinov2.lvd142m       86579712 518 1.000 imagenet -
clip_vitb16         vit_base_patch16_clip_quickgelu_224.openai 86193152 224 0.900 clip \
vit_base_patch16_clip_224.openai
vit_s_16            vit_small_patch16_224.augreg_in21k_ft_in1k 22050664 224 0.900 half -
convnext_tiny_in12k convnext_tiny.in12k_ft_in1k           28589128 224 0.950 imagenet -
mobilenet_v4_small  mobilenetv4_conv_small.e2400_r224_in1k 3774024 224 0.875 imagenet -
"""

# Name, input side, parameters, bytes, extra, file, sha256. The pixel scaling of these
# networks is (x - 127) / 128 on 0..255, and their publisher crops 32 pixels off.
LITE = """
efficientnet_lite0 224 4652008 18826032 - efficientnet-lite0-57934424.pth \
579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db
efficientnet_lite1 240 5416680 21946926 lite efficientnet-lite1-77cc7160.pth \
77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850
efficientnet_lite2 260 6092072 24666229 lite efficientnet-lite2-9656183e.pth \
9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d
"""

TORCHVISION_URL = "https://download.pytorch.org/models/"

# Network, parameters, tag without `imagenet1k_`, file without `.pth`, MiB, input side,
# side before the crop, filter.
TORCHVISION = """
alexnet             61100840 v1       alexnet-owt-7be5be79               233.087 224 256 bilinear
vgg11              132863336 v1       vgg11-8a719046                     506.840 224 256 bilinear
vgg13              133047848 v1       vgg13-19584684                     507.545 224 256 bilinear
vgg16              138357544 v1       vgg16-397923af                     527.796 224 256 bilinear
vgg16              138357544 features vgg16_features-amdegroot-88682ab5  527.802 224 256 bilinear
vgg19              143667240 v1       vgg19-dcbb9e9d                     548.051 224 256 bilinear
vgg16_bn           138365992 v1       vgg16_bn-6c64b313                  527.866 224 256 bilinear
vgg19_bn           143678248 v1       vgg19_bn-c79401a0                  548.143 224 256 bilinear
resnet18            11689512 v1       resnet18-f37072fd                   44.661 224 256 bilinear
resnet34            21797672 v1       resnet34-b627a593                   83.275 224 256 bilinear
resnet50            25557032 v2       resnet50-11ad3fa6                   97.790 224 232 bilinear
resnet50            25557032 v1       resnet50-0676ba61                   97.781 224 256 bilinear
resnet101           44549160 v2       resnet101-cd907fc2                 170.530 224 232 bilinear
resnet101           44549160 v1       resnet101-63fe2227                 170.511 224 256 bilinear
resnet152           60192808 v2       resnet152-f82ba261                 230.474 224 232 bilinear
resnet152           60192808 v1       resnet152-394f9c45                 230.434 224 256 bilinear
wide_resnet50_2     68883240 v2       wide_resnet50_2-9ba9bcbe           263.124 224 232 bilinear
wide_resnet50_2     68883240 v1       wide_resnet50_2-95faca4d           131.820 224 256 bilinear
resnext50_32x4d     25028904 v2       resnext50_32x4d-1a0047aa            95.833 224 232 bilinear
resnext50_32x4d     25028904 v1       resnext50_32x4d-7cdf4587            95.789 224 256 bilinear
densenet121          7978856 v1       densenet121-a639ec97                30.845 224 256 bilinear
densenet161         28681000 v1       densenet161-8d451a50               110.369 224 256 bilinear
squeezenet1_1        1235496 v1       squeezenet1_1-b8a52dc0               4.729 224 256 bilinear
shufflenet_v2_x1_0   2278604 v1       shufflenetv2_x1-5666bf0f80           8.791 224 256 bilinear
mobilenet_v2         3504872 v2       mobilenet_v2-7ebf99e0               13.598 224 232 bilinear
mobilenet_v2         3504872 v1       mobilenet_v2-b0353104               13.555 224 256 bilinear
mobilenet_v3_small   2542856 v1       mobilenet_v3_small-047dcff4          9.829 224 256 bilinear
mobilenet_v3_large   5483032 v2       mobilenet_v3_large-5c1a4163         21.107 224 232 bilinear
mobilenet_v3_large   5483032 v1       mobilenet_v3_large-8738ca79         21.114 224 256 bilinear
efficientnet_b0      5288548 v1       efficientnet_b0_rwightman-7f5810bc  20.451 224 256 bicubic
efficientnet_b1      7794184 v2       efficientnet_b1-c27df63c            30.136 240 255 bilinear
efficientnet_b1      7794184 v1       efficientnet_b1_rwightman-bac287d4  30.134 240 256 bicubic
efficientnet_b2      9109994 v1       efficientnet_b2_rwightman-c35c1473  35.174 288 288 bicubic
efficientnet_b3     12233232 v1       efficientnet_b3_rwightman-b3899882  47.184 300 320 bicubic
efficientnet_v2_s   21458488 v1       efficientnet_v2_s-dd5fe13b          82.704 384 384 bilinear
regnet_y_400mf       4344144 v2       regnet_y_400mf-e6988f5f             16.806 224 232 bilinear
regnet_y_400mf       4344144 v1       regnet_y_400mf-c65dace8             16.806 224 256 bilinear
regnet_y_8gf        39381472 v2       regnet_y_8gf-dc2b1b54              150.701 224 232 bilinear
regnet_y_8gf        39381472 v1       regnet_y_8gf-d0d0e4a8              150.701 224 256 bilinear
convnext_tiny       28589128 v1       convnext_tiny-983f1562             109.119 224 236 bilinear
convnext_small      50223688 v1       convnext_small-0c510722            191.703 224 230 bilinear
convnext_base       88591464 v1       convnext_base-6075fbad             338.064 224 232 bilinear
swin_t              28288354 v1       swin_t-704ceda3                    108.190 224 232 bicubic
vit_b_16            86567656 v1       vit_b_16-c867db91                  330.285 224 256 bilinear
"""

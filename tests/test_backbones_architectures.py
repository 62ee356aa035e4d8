"""Networks without numbers: every architecture of the catalogue can be built on meta."""

from __future__ import annotations

import pytest

from offshelf.backbones.architectures import skeleton
from offshelf.backbones.catalog import get_spec


@pytest.mark.parametrize("name", ["regnet_y_400mf", "vgg16", "dinov2_vits14"])
def test_a_skeleton_has_the_published_shape_and_no_memory(name: str):
    spec = get_spec(name)
    module = skeleton(spec, image_size=spec.weights[0].input.size)
    assert sum(parameter.numel() for parameter in module.parameters()) == spec.parameters
    assert all(parameter.is_meta for parameter in module.parameters())
    assert not module.training

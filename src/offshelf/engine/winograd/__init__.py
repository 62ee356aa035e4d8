"""3 x 3 convolutions with a quarter of the multiplications, in fp32 on the CPU.

Winograd's minimal filtering F(4 x 4, 3 x 3): 4 x 4 outputs of a channel pair from 36
multiplications instead of 144, at the price of sums before and after (Lavin and Gray, "Fast
Algorithms for Convolutional Neural Networks", 2016, arXiv:1509.09308, section 4.3). Networks
that consist of such convolutions, VGG above all, run faster than any direct convolution can.

An image is computed by the same operations in the same order alone and in company, so its
features are the same bits. They differ from a direct convolution's by rounding (tested).
"""

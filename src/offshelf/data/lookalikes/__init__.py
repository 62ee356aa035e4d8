"""Copies and near-copies: perceptual hashes and fingerprints of decoded pixels."""

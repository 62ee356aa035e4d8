"""The OpenVINO engine: conversion, int8, and how many requests run at once."""

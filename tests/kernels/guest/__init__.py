"""Guests of QEMU that run a checkout of podtrace on other kernels than this machine's.

Everything that takes long is kept in ~/.cache/podtrace-kernels, named for what it was made of; the
code under test is copied in at each boot. Nothing of this machine is changed.
"""

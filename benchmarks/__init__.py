"""The cost of mjasync, compared with the same work written by hand.

`python -m benchmarks` runs every benchmark, `python -m benchmarks NAME…` some of them. The wheel
does not include this package, and no test depends on a measured time.
"""

"""What the SDK costs, beside what the same work costs when it is written by hand.

`python -m benchmarks` runs every row, `python -m benchmarks NAME…` some of them. Nothing in here is
shipped, and no test depends on how fast anything is.
"""

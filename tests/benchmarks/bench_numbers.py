"""Prints how many captioned numbers a second one core draws: python tests/benchmarks/bench_numbers.py

Processor time is counted, so that other programs on the machine change little; the floor is 50,000.
"""

import time

import torch

from xlib.data import numbers

SECONDS = 1.0

torch.set_num_threads(1)
generator = torch.Generator().manual_seed(0)
for strength in (0.0, 0.6):
    data = numbers.load("train", strength=strength)
    for batch in (72, 256, 1024):
        what = torch.randint(10, 100, (batch,), generator=generator)
        data.draw(what, generator=generator)
        calls, start = 0, time.process_time()
        while time.process_time() - start < SECONDS:
            data.draw(what, generator=generator)
            calls += 1
        rate = batch * calls / (time.process_time() - start)
        print(f"strength {strength}  batch {batch:5d}  {rate:10,.0f} images/s")

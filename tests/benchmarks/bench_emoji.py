"""Times the emoji and text loaders on one core: python tests/benchmarks/bench_emoji.py"""

import os
import tempfile
import time

import torch


def timed(what, call):
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    print(f"{what:45} {time.perf_counter() - wall:6.2f} s, {time.process_time() - cpu:6.2f} s of processor time")
    return result


def main():
    torch.set_num_threads(1)
    from xlib.data import emoji, text

    with tempfile.TemporaryDirectory() as folder:
        os.environ["XLIB_CACHE"] = folder
        loaded = timed("emoji, drawn in four styles (at most 8 s)", emoji.load)
        for _ in range(3):
            timed("emoji, from the cache (at most 0.3 s)", emoji.load)
        names = loaded.names["en"]
        timed(f"text features of {len(names)} names, model loaded first", lambda: text.minilm_features(names))
        timed("text features, from the cache", lambda: text.minilm_features(names))
        timed("one batch of 128 on a background", lambda: emoji.on_background(loaded.images["twemoji"][:128]))


if __name__ == "__main__":
    main()

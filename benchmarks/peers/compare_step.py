"""Runs two benchmark commands in turn, n rounds, and prints how they compare.

  python3 benchmarks/peers/compare_step.py --rounds 5 \\
      --ours "build/release/systole bench augment --augment ssrl" --peer "python3 benchmarks/peers/augment.py"

Each command's last line of output must be JSON with "seconds_per_step". They take turns, so that a busy or a warming
machine meets both alike; who starts a round alternates too. The ratio is taken per round (peer / ours; above 1: ours is
faster), and its median is the result. The last line of output is JSON.
"""

import argparse
import json
import statistics
import subprocess


def seconds_per_step(command):
    done = subprocess.run(command, shell=True, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"'{command}' ended with exit code {done.returncode}")
    last = done.stdout.strip().rpartition("\n")[2]
    try:
        return float(json.loads(last)["seconds_per_step"])
    except (ValueError, KeyError, TypeError):
        raise SystemExit(f"the last line of '{command}' is not JSON with seconds_per_step: {last!r}") from None


def run_rounds(commands, rounds):
    """Seconds per step of each command, one per round."""
    seconds = {name: [] for name in commands}
    for i in range(rounds):
        for name in sorted(commands, reverse=bool(i % 2)):
            seconds[name].append(seconds_per_step(commands[name]))
    return seconds


def summary(values):
    return {"median": statistics.median(values), "least": min(values), "greatest": max(values), "rounds": values}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", required=True, help="shell command")
    parser.add_argument("--peer", required=True, help="shell command")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error(f"--rounds must be at least 1, it is {options.rounds}")

    seconds = run_rounds({"ours": options.ours, "peer": options.peer}, options.rounds)
    result = {name: summary(values) for name, values in seconds.items()}
    result["ratio"] = summary([p / o for p, o in zip(seconds["peer"], seconds["ours"])])
    print(f"{'':22}{'median':>12}{'least':>12}{'greatest':>12}")
    for name, title in (("ours", "ours, s per step"), ("peer", "peer, s per step"), ("ratio", "ratio, peer / ours")):
        r = result[name]
        print(f"{title:22}{r['median']:12.5g}{r['least']:12.5g}{r['greatest']:12.5g}")
    print(json.dumps(result | {"commands": {"ours": options.ours, "peer": options.peer}}))


if __name__ == "__main__":
    main()

"""What the scripts that time augmentations are asked: how many records and views, of what size, and how often."""


def add_batch_options(parser):
    parser.add_argument("--records", type=int, default=128, help="records per step")
    parser.add_argument("--views", type=int, default=2, help="views of each record")
    parser.add_argument("--leads", type=int, default=12)
    parser.add_argument("--length", type=int, default=1000, help="samples per lead")
    parser.add_argument("--sampling-rate", type=float, default=100, help="Hz")
    parser.add_argument("--steps", type=int, default=10, help="timed steps")
    parser.add_argument("--warmup", type=int, default=2, help="steps before them")
    parser.add_argument("--seed", type=int, default=1)


def parse(parser):
    options = parser.parse_args()
    if options.records < 2:
        parser.error(f"--records must be at least 2, since mixup and CutMix need another one; it is {options.records}")
    return options

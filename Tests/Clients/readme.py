"""The tables of the README, which the program prints; run it to write them anew."""

import re

from kinglet import REPOSITORY, run

README = REPOSITORY / "README.md"
BLOCK = re.compile(r"(<!-- (\w+): make readme -->\n).*?<!-- end -->", re.DOTALL)


def with_tables(text):
    """The text with the tables as the program prints them between their marks."""
    done = run("config", "--tables")
    assert done.returncode == 0, done.stderr
    printed = {block[2]: block[0] for block in BLOCK.finditer(done.stdout)}
    marked = [block[2] for block in BLOCK.finditer(text)]
    assert sorted(marked) == sorted(printed), (marked, sorted(printed))
    return BLOCK.sub(lambda block: printed[block[2]], text)


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text()))

"""Check types with mypy and compare the share of typed expressions per package with its floor.

Run by `make check`. A share below its floor fails; with `--raise` the floors rise to just below the
shares of now, and never fall.
"""

import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
FLOORS = ROOT / "tests" / "typed-floors.txt"
PACKAGES = ("node", "kd")  # each package below these has a floor
NEW = 80.0  # the floor of a package without one


def shares_of(report: str) -> dict[str, float]:
    """Return the percentage of typed expressions of each package from mypy's any-exprs report."""
    untyped: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for line in report.splitlines()[2:]:
        words = line.split()
        if len(words) != 4 or words[0].partition(".")[0] not in PACKAGES:
            continue
        package = ".".join(words[0].split(".")[:2])
        untyped[package] += int(words[1])
        total[package] += int(words[2])
    return {name: 100 * (1 - untyped[name] / total[name]) for name in sorted(total) if total[name]}


def read_floors(path: Path) -> dict[str, float]:
    """Return the floors by package."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = (line.split() for line in lines if not line.startswith("#"))
    return {name: float(floor) for name, floor in rows}


def problems(shares: dict[str, float], floors: dict[str, float]) -> list[str]:
    """Return one message for each package below its floor."""
    messages = []
    for name, share in shares.items():
        floor = floors.get(name, NEW)
        if share < floor:
            messages.append(
                f"{name}: {share:.1f} % of the expressions are typed, the floor is "
                f"{floor:.0f} %: give the new code types"
            )
    return messages


def main(arguments: list[str]) -> int:
    """Run mypy, print the shares, and return its status or 1 if a share is too low."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "mypy", "--any-exprs-report", folder]
        checked = subprocess.run(command, cwd=ROOT, check=False)
        if checked.returncode:
            return checked.returncode
        report = (Path(folder) / "any-exprs.txt").read_text(encoding="utf-8")
    shares, floors = shares_of(report), read_floors(FLOORS)
    if "--raise" in arguments:
        write_floors(FLOORS, shares, floors)
        floors = read_floors(FLOORS)
    print("typed expressions, % (floor)")
    for name, share in shares.items():
        print(f"  {name:<24} {share:5.1f} ({floors.get(name, NEW):.0f})")
    below = problems(shares, floors)
    print(*below, sep="\n", file=sys.stderr) if below else None
    return 1 if below else 0


def write_floors(path: Path, shares: dict[str, float], floors: dict[str, float]) -> None:
    """Raise the floors to half a percent below the shares; packages that are gone lose theirs."""
    lines = ["# least % of typed expressions by package; raised by `make raise-floors`"]
    for name, share in shares.items():
        floor = max(floors.get(name, 0.0), int(share - 0.5))
        lines.append(f"{name} {floor:.0f}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

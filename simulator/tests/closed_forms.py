"""Writes closed_forms.csv: every closed form of the simulator at 50 digits.

    pip install mpmath && python3 simulator/tests/closed_forms.py > simulator/tests/closed_forms.csv

Each number is computed from the definition (sums and products, no rearranged form) on the exact
binary value of the 64-bit inputs, and printed with 25 digits. Columns: what, arguments separated by
spaces, value.
"""

from mpmath import exp, mp, mpf, nstr

mp.dps = 50
ALPHAS = [i / 10 for i in range(11)] + [1 - 2.0**-k for k in (10, 20, 30, 40, 50, 53)]
BETAS = [0.0, 1e-9, 1 / 32, 0.25, 1 / 3, 0.5, 0.75, 31 / 32, 1 - 2.0**-30, 1 - 2.0**-50]
SHAPES = [0.05, 0.5, 1.0, 2.5, 4.0, 40.0]
UNEQUAL = [0.93, 0.81, 0.74, 0.57, 0.9, 0.33, 0.61, 1.0, 0.05, 0.88, 0.7, 0.99, 0.42, 0.66, 0.5, 0.2]


def row(what, arguments, value):
    print(f"{what},{' '.join(repr(a) for a in arguments)},{nstr(value, 25)}")


def tokens(alphas):
    total, reached = mpf(1), mpf(1)
    for alpha in alphas:
        reached *= mpf(alpha)
        total += reached
    return total


def sigmoid(x):
    return 1 / (1 + exp(-x))


def curve(family, beta, parameters):
    b = mpf(beta)
    if family == "logistic":
        c, k = map(mpf, parameters)
        s = lambda x: sigmoid(k * (c - x))
        return (s(b) - s(1)) / (s(0) - s(1))
    u = mpf(parameters[0])
    if family == "power":
        return 1 - b**u
    if family == "superellipse":
        return (1 - b**u) ** (1 / u)
    if family == "exponential":
        return (1 - exp(-u * (1 - b))) / (1 - exp(-u))
    return exp(-b / u)


def main():
    print("what,arguments,value")
    for gamma in range(17):
        for alpha in ALPHAS:
            row("equal", [alpha, gamma], tokens([alpha] * gamma))
        row("unequal", [gamma], tokens(UNEQUAL[:gamma]))
    for gamma in range(1, 17):
        for alpha in ALPHAS:
            for beta in BETAS:
                kept, e = 1 - mpf(beta), tokens([alpha] * gamma)
                row("simultaneous", [alpha, gamma, beta], e / (1 + kept))
                row("sequential", [alpha, gamma, beta], e / (1 + gamma * kept))
    for beta in BETAS:
        for u in SHAPES:
            for family in ("power", "superellipse", "exponential", "decay"):
                row(family, [beta, u], curve(family, beta, [u]))
        for centre in (-0.3, 0.0, 0.4, 0.7, 1.2):
            for slope in (0.01, 1.0, 8.0, 60.0):
                row("logistic", [beta, centre, slope], curve("logistic", beta, [centre, slope]))


main()

"""Slips in the chapters' derivations, made on purpose: the cells themselves must notice every one.

A slip is made in a cell, in the state that those cells have left on which it depends. Mistakes in
the package are made in test_mutations, unfit notebooks and pages in test_stale and test_unfit.
"""

import linecache
import warnings
from pathlib import Path

import jupytext
import matplotlib
import notebooks
import pytest
import torch
from matplotlib import pyplot as plt

from tests.mutate import mutated, needed, pieces

ROOT = Path(__file__).resolve().parent.parent

# chapter: (what is right on the page, what is wrong)
SLIPS = {
    "escape/kramers": [
        ("single = -D / weight", "single = D / weight"),
        ("stated = sp.erfc(x * sp.sqrt(h / (2 * D)))", "stated = sp.erfc(x * sp.sqrt(h / D))"),
        (
            "stated = 2 * sp.pi / sp.sqrt(k * h) * sp.exp((Lb",
            "stated = sp.pi / sp.sqrt(k * h) * sp.exp((Lb",
        ),
        (
            "stated = 2 * sp.pi / sp.sqrt(k * h) * sp.exp((Lb - La)",
            "stated = 2 * sp.pi / sp.sqrt(k * h) * sp.exp((Lb + La)",
        ),
        ("(1 - pull * t1 + D * t2)", "(1 - pull * t1 + 2 * D * t2)"),
        ("5 * f3**2", "5 * f3**3"),
        ("- f4 / (8 * f2**2)", "+ f4 / (8 * f2**2)"),
        ("+ d4 / (8 * h**2)", "- d4 / (8 * h**2)"),
        (  # α exchanged with 1 − α
            "Dx(x) ** (1 - alpha) * sp.diff(\n    Dx(x) ** alpha * sp.diff(T, x), x)",
            "Dx(x) ** alpha * sp.diff(\n    Dx(x) ** (1 - alpha) * sp.diff(T, x), x)",
        ),
        (
            "1 - alpha) * sp.diff(Dx(x) ** alpha * sp.diff(any_T",
            "alpha) * sp.diff(Dx(x) ** (1 - alpha) * sp.diff(any_T",
        ),
    ],
    "escape/sgd-to-diffusion": [
        ("S / B * (m - B) / (m - 1)", "S / B * (m - B) / m"),
        ("[eta_ / 2 * C]", "[eta_ * C]"),
        ("D_of(u).diff(u) / 2", "D_of(u).diff(u)"),
        ("skewness + sp.sqrt(eta_ / t)", "skewness - sp.sqrt(eta_ / t)"),
        ("correction + (dL**2).diff(x) / 4", "correction + (dL**2).diff(x) / 2"),
    ],
    "escape/density-flow": [
        ("+ 2 * spread[0, 1] * f[1, 1]", "+ spread[0, 1] * f[1, 1]"),
        ("sp.diff(sp.diff(L, x) * p, x) + sp.diff(Dx * p", "sp.diff(Dx * p"),
        ("sp.expand(P2 * A_f2 + f2", "sp.expand(P2 * A_f2 - f2"),
    ],
    "escape/measuring": [
        ("assert mean == 1 / gamma", "assert mean == 2 / gamma"),
        ("4 * (-1) ** (k_ - 1) / ((2", "2 * (-1) ** (k_ - 1) / ((2"),
        ("ahead + 2 * later * root**2", "ahead + later * root**2"),
    ],
    "escape/saddles": [
        ("{x: cos, y: sin}, (2, ka)", "{x: cos, y: sin}, (1, ka)"),
        ("D * second - (-h) * w * first", "D * second - h * w * first"),
        ("+ (up_hill.T * hold * way)[0]", "- (up_hill.T * hold * way)[0]"),
    ],
    "noise/is-it-gaussian": [
        ("return (top - (mean_log_width + constant))", "return (top - mean_log_width)"),
        ("power.subs(q, 4) / power.subs(q, 2) ** 2", "power.subs(q, 4) / power.subs(q, 2)"),
        ("batch = sp.expand(B * one.subs(u, u / B))", "batch = sp.expand(one.subs(u, u / B))"),
        ("factor = B * (m - B) * (m - 2 * B)", "factor = B * (m - B) * (m - B)"),
        ("w[i] ** 4 * (3 + excesses[i] / B)", "w[i] ** 4 * (3 + excesses[i] / B**2)"),
        ("(l3**2 / 9 - l4 / 12)", "(l4 / 12 - l3**2 / 9)"),
        ("count * (l3**2 / (6 * B)", "count * (l3**2 / (3 * B)"),
    ],
    "noise/noise-is-curvature": [
        (
            "assert sp.simplify((second - mean**2) / (p * (1 - p)) - c**2) == 0",
            "assert sp.simplify((second - mean**2) / (p * (1 - p)) - c) == 0",
        ),
        (
            "sp.simplify(score[y] - (belief_ - one[:, y]))",
            "sp.simplify(score[y] + (belief_ - one[:, y]))",
        ),
        (
            "identity = chance_ * (ell.diff(q) * ell.diff(r) - ell.diff(q, r))",
            "identity = chance_ * (ell.diff(q) * ell.diff(r) + ell.diff(q, r))",
        ),
        (
            "law = two_L * H_ + H_ * d_ * (H_ * d_).T",
            "law = two_L / 2 * H_ + H_ * d_ * (H_ * d_).T",
        ),
        ("stated = (label - pi_z) * (1 - 2 * pi_z)", "stated = (label - pi_z) * (1 - pi_z)"),
        ("(free, False)", "(free, True)"),  # a loss without the symmetry
        ("(lam_ - nu_)", "(lam_ + nu_)"),
    ],
    "noise/epochs": [
        ("pair = B**2 * (-S / (m - 1)) / B**2", "pair = B**2 * (-S / m) / B**2"),
        ("(3 * M**2 - 3 * M * k + k**2 - 1)", "(3 * M**2 - 3 * M * k + k**2 + 1)"),
        ("* (s2 - s1**2 / size) / (", "* (s2 - s1**2) / ("),
        ("2 / zz + 2 / zz**2 * (1 - sp.exp(-zz))", "2 / zz + 1 / zz**2 * (1 - sp.exp(-zz))"),
    ],
    "noise/papers-noise": [
        ("rho_ = (1 - p_) / p_", "rho_ = p_ / (1 - p_)"),
        ("sp.log((1 - p_) ** 2), p_)", "sp.log(1 - p_), p_)"),
        ("[[-1, 1, 0], [-1, 0, 1]]", "[[1, 1, 0], [-1, 0, 1]]"),
        ("(wrong[k] * wrong[j] *", "(wrong[k] *"),
        ("(J.T * Lambda_.subs(bent).subs(at) * J)", "(J.T * J)"),
        ("U_ = (narrow**4 + wide**4) / 2 /", "U_ = (narrow**4 + wide**4) /"),
    ],
    "theory/white-noise": [
        ('"variance": 2 * eta * D}', '"variance": eta * D}'),
        ("junction = sp.sqrt(2 * h / (g", "junction = sp.sqrt(2 * g / (h"),
        ("stated = k * generate(some_L", "stated = sp.sqrt(k) * generate(some_L"),
        ("place, eta / k)", "place, eta)"),
        ("hessian_a.det() / sp.Abs(hessian_b.det())", "sp.Abs(hessian_b.det()) / hessian_a.det()"),
        (
            "assert sum(power) == 1 == sp.simplify(n / 2 + half - (n - 1) / 2)",
            "assert sum(power) == 1 == sp.simplify(n / 2 - half - (n - 1) / 2)",
        ),
    ],
    "theory/sgd-noise": [
        ("share - Hb / (Ha + Hb)", "share - Ha / (Ha + Hb)"),
        (
            "exponent = 2 * B * gap / eta * (s / Ha + (1 - s) / Hb)",
            "exponent = B * gap / eta * (s / Ha + (1 - s) / Hb)",
        ),
        (
            "two_parts = s * gap / T_a + (1 - s) * gap / T_b",
            "two_parts = (1 - s) * gap / T_a + s * gap / T_b",
        ),
        (
            "valley_window - bottom / (eps * Ha)",
            "valley_window - bottom / (eps * Hb)",
        ),
        ("full = -pull * P - sp.diff(Dx(x) * P, x)", "full = -pull * P - Dx(x) * sp.diff(P, x)"),
        (
            "stated = size * (-eps * dPhi * sp.diff(f, x) + eps * sp.diff(f, x, 2))",
            "stated = size * (eps * dPhi * sp.diff(f, x) + eps * sp.diff(f, x, 2))",
        ),
    ],
    "theory/many-directions": [
        (
            "kramers.subs({Da: eps * Ha, Db: eps * Hb})",
            "kramers.subs({Da: eps * Hb, Db: eps * Ha})",
        ),
        (
            "stated = 2 * sp.pi / (Ha ** (1 - alpha) * Hb**alpha)",
            "stated = 2 * sp.pi / (Hb ** (1 - alpha) * Ha**alpha)",
        ),
        ("lead = 2 * m / c", "lead = m / c"),
        ("found_w - (c1 / c - m * m1 / c", "found_w - (c1 / c + m * m1 / c"),
        ("rest = f**2 * h.diff(x) / (2 * h**2)", "rest = f**2 * h.diff(x) / h**2"),
        ("k * (w - 1) + 2 * g * phi", "k * (w - 1) + g * phi"),
        ("(k_ - h_) / (k_ + h_)", "(k_ + h_) / (k_ + h_)"),
        ("- 4 * g * phi * w", "- 2 * g * phi * w"),
    ],
    "theory/dials": [
        (
            "kick = sp.sqrt(k) * eta * sp.sqrt(k * bend / B)",
            "kick = sp.sqrt(k) * eta * sp.sqrt(bend / B)",
        ),
        ("on_plain = moved(ell(y), y, eta * k)", "on_plain = moved(ell(y), y, eta)"),
        ("root * P(root * x, k * t)", "root * P(root * x, t)"),
        ("- sp.log(k) + sp.log(2 * sp.pi / Ha)", "+ sp.log(k) + sp.log(2 * sp.pi / Ha)"),
        (
            "psi = rise * (share / Ha + (1 - share) / Hb)",
            "psi = rise * ((1 - share) / Ha + share / Hb)",
        ),
        ("per_step = wait + sp.log(1 / eta)", "per_step = wait + sp.log(eta)"),
    ],
    "theory/which-minimum": [
        ("d = sp.sqrt(2 * share * climb / H)", "d = sp.sqrt(share * climb / H)"),
        ("j = sp.sqrt(2 * (1 - share) * climb / Hb)", "j = sp.sqrt(2 * share * climb / Hb)"),
        ("rest = stay / (stay + other)", "rest = other / (stay + other)"),
        (
            "sp.integrate(H * u / (H / cold), (u, 0, d))",
            "sp.integrate(H * u / (Hb / cold), (u, 0, d))",
        ),
        (
            "stated = Hs / Hf * sp.exp(cold * (uf * psi_flat - up * psi_sharp))",
            "stated = sp.sqrt(Hs / Hf) * sp.exp(cold * (uf * psi_flat - up * psi_sharp))",
        ),
        ("nu = 1 / stay + 1 / other", "nu = 1 / (stay + other)"),
    ],
    "theory/large-batches": [
        ("diffusion = eta / 2 * scatter / B", "diffusion = eta * scatter / B"),
        ("toll = gap * (s / k + (1 - s) / h)", "toll = gap * (s / h + (1 - s) / k)"),
        ("sp.sqrt(k * h) * sp.sqrt(Db / Da)", "sp.sqrt(k * h) * sp.sqrt(Da / Db)"),
        ("K = tau / eta\nlog_K = cost", "K = tau\nlog_K = cost"),
        ("samples = B * wait / eta", "samples = wait / eta"),
        (
            '"root": sp.exp((sp.sqrt(more) - 1) * cost) / sp.sqrt(more)}',
            '"root": sp.exp((sp.sqrt(more) - 1) * cost)}',
        ),
    ],
    "theory/where-it-breaks": [
        ("assert sp.simplify(drift - 2 * p) == 0", "assert sp.simplify(drift - p) == 0"),
        ("growth - 2 * sp.sqrt(3) * eps", "growth - sp.sqrt(3) * eps"),
        ("scale * g, scale * sp.sqrt(2 * lam * z)", "scale * g, scale * sp.sqrt(lam * z)"),
        ("rate = share / eta * chance", "rate = share * chance"),
        (
            "claimed = (3 + 2 * sp.log(2) + 4 * sp.log(1 / floor)) / 18",
            "claimed = (3 + 2 * sp.log(2) + 2 * sp.log(1 / floor)) / 18",
        ),
        ("(a2, -sp.oo, sp.oo)) * k1 * r_", "(a2, -sp.oo, sp.oo)) * k1"),
    ],
    "networks/logistic-valley": [
        (
            "rest = eta / B * (2 * sp.eye(2) - eta * Hs).inv()",
            "rest = eta / B * (sp.eye(2) - eta * Hs).inv()",
        ),
        ("noise = (Ss - keep * Ss * keep) / eta**2", "noise = (Ss - keep * Ss * keep) / eta"),
        ("pull = ((2 * Ds * inv - Hs) * th)[0]", "pull = ((Ds * inv - Hs) * th)[0]"),
        (
            "stated = sp.trace(Hs) - (th.T * Hs * inv * th)[0]",
            "stated = sp.trace(Hs) + (th.T * Hs * inv * th)[0]",
        ),
        ("mean_pull = (Hg * sp.Matrix([r, shift]))[0]", "mean_pull = (Hg * sp.Matrix([r, 0]))[0]"),
        ("at_edge = (u.T * (Hs * u / mu))[0] / 2", "at_edge = (u.T * (Hs * u / mu))[0]"),
        ("thin = 1 - sp.exp(-G * zed / d)", "thin = 1 - sp.exp(-G * zed / (2 * d))"),
        ("gauss = -q1 * slope_ + q1**2 * c_ / 2", "gauss = -q1 * slope_ + q1**2 * c_"),
    ],
    "networks/network-minimum": [
        (
            "assert sp.simplify(window - (1 - D * (24 * g) / (8 * k**2))) == 0",
            "assert sp.simplify(window - (1 + D * (24 * g) / (8 * k**2))) == 0",
        ),
        (
            "resting = height_z - eta / 4 * tilted**2 + eta * D / 2 * bend",
            "resting = height_z - eta / 2 * tilted**2 + eta * D / 2 * bend",
        ),
        (
            "assert sp.simplify(least - (pull * way + inner) / 2) == 0",
            "assert sp.simplify(least - (pull * way + inner)) == 0",
        ),
        (
            "dial_S = uphill.subs(d0, eta * sigma / (2 * batch))",
            "dial_S = uphill.subs(d0, eta * sigma / batch)",
        ),
        (
            "known = 5 * T**2 / (24 * lam**3) + F / (8 * lam**2)",
            "known = 5 * T**2 / (24 * lam**3) - F / (8 * lam**2)",
        ),
        (
            "M_at, M_p = pair_of(K - eta / 2 * K_at * K_p)",
            "M_at, M_p = pair_of(K + eta / 2 * K_at * K_p)",
        ),
    ],
    "networks/other-exits": [
        ("below = sp.integrate(2 * dial / (ra * Ha)", "below = sp.integrate(dial / (ra * Ha)"),
        (
            "(share / (ra * Ha) + (1 - share) / (rb * Hb))",
            "(share / (rb * Ha) + (1 - share) / (ra * Hb))",
        ),
        (
            "along = sample.subs(dict(zip((w, beta, v), u * odd))",
            "along = sample.subs(dict(zip((w, beta, c), u * odd))",
        ),
        ("1 - sp.exp(-rate * pause)) - (", "1 - sp.exp(-rate * pause)) + ("),
        (
            "assert sp.series(wrong, q_, 0, 2).removeO() == q_ / 2",
            "assert sp.series(wrong, q_, 0, 2).removeO() == q_",
        ),
    ],
    "networks/papers-escapes": [
        ("step = place - eta * pull + sp", "step = place - eta * pull / sp.sqrt(k) + sp"),
        ("stated += sp.sqrt(2 * D * k * eta) * xi", "stated += sp.sqrt(2 * D * eta) * xi"),
        (
            "balance = H_s * S_s + S_s * H_s - eta / B * H_s",
            "balance = H_s * S_s + S_s * H_s - 2 * eta / B * H_s",
        ),
        ("cost = r**2 / (2 * s1.subs(found))", "cost = r**2 / s1.subs(found)"),
        ("[alone] = sp.solve(2 * h1 * s1", "[alone] = sp.solve(h1 * s1"),
        ("D * free(at).diff(at, 2) + 1", "2 * D * free(at).diff(at, 2) + 1"),
        ("u_ = sp.Matrix([w, b_, -v, 0])", "u_ = sp.Matrix([w, 0, -v, 0])"),
        ("rest_ = bend_ * u_ + sp.diag(1, 1, -1, 0)", "rest_ = bend_ * u_ + sp.diag(1, 1, 1, 0)"),
    ],
    "networks/spectrum": [
        ("excess = sp.exp(-sp.log(belief[y])) - 1", "excess = sp.exp(-sp.log(belief[y]))"),
        ("doubt = 1 - sp.exp(-surprise)  # ε", "doubt = sp.exp(-surprise)  # ε"),
        (
            "chance = Cs.trace() * Hs.trace() / 2  # n = 2",
            "chance = Cs.trace() * Hs.trace()  # n = 2",
        ),
        (
            "stated = (1 - rate * mean_h) ** 2 + rate**2 * var_h / 2",
            "stated = (1 - rate * mean_h) ** 2 + rate**2 * var_h",
        ),
        ("assert edges == [2 / rate]", "assert edges == [1 / rate]"),
        (
            "assert sp.simplify(rest - plain / (1 - least / B_)) == 0",
            "assert sp.simplify(rest - plain / (1 - B_ / least)) == 0",
        ),
        (
            "assert np.abs(every - A_map - 0.4**2 / 2 * V_map).max() < 1e-12",
            "assert np.abs(every - A_map - 0.4**2 * V_map).max() < 1e-12",
        ),
        (
            "assert sp.simplify(steep - 2 / (2 - rate * lam)) == 0",
            "assert sp.simplify(steep - 1 / (2 - rate * lam)) == 0",
        ),
        (
            "inverse = sp.diff(other, f) ** 2 / sp.diff(other, f, 2)",
            "inverse = sp.diff(other, f, 2) / sp.diff(other, f) ** 2",
        ),
    ],
    "networks/which-minima": [
        ("pull = 2 * u / (1 + u**2)", "pull = u / (1 + u**2)"),
        ("bend = 2 * (1 - u**2) / (1 + u**2) ** 2", "bend = 2 * (1 + u**2) / (1 + u**2) ** 2"),
        (
            'D = eta * sp.Symbol("Sigma", positive=True) / (2 * B)',
            'D = eta * sp.Symbol("Sigma", positive=True) / B',
        ),
        (
            "paper = barrier * (s / Hs + (1 - s) / Hb)",
            "paper = barrier * ((1 - s) / Hs + s / Hb)",
        ),
        ("front = sp.sqrt(Hs / Hf) * sp.sqrt(", "front = sp.sqrt(Hf / Hs) * sp.sqrt("),
    ],
    "networks/your-own-network": [
        ("noise = h - lam", "noise = h + lam"),
        ("normed = [(one - mean) / width", "normed = [one / width"),
        ("(s / h) * 2 / (2 - eta * h)", "(s / h) * 2 / (2 + eta * h)"),
        ("(1 - (1 - eta * h) ** (2 * steps))", "(1 - (1 - eta * h) ** steps)"),
        ("{p: p + u, q: p - u}", "{p: p + u, q: p + u}"),
        ("sp.exp(-2 * time / tau)) / 2", "sp.exp(-time / tau)) / 2"),
    ],
    "networks/flatness-and-generalisation": [
        ("copy = {w: alpha * w, v: v / alpha}", "copy = {w: alpha * w, v: alpha * v}"),
        (
            "assert sp.simplify(unit.subs(alpha, best) - 2 * sp.sqrt(p * q)) == 0",
            "assert sp.simplify(unit.subs(alpha, best) - sp.sqrt(p * q)) == 0",
        ),
        ("there = A * theta_ - eta * at_copy(first)", "there = A * theta_ - eta * first"),
        (
            "shrunk = (w**2 - v**2) * (1 - eta**2 * g**2)",
            "shrunk = (w**2 - v**2) * (1 - eta * g**2)",
        ),
        ("takeuchi = (H_.inv() * S_).trace() / m_", "takeuchi = (S_.inv() * H_).trace() / m_"),
        ("half = (g_.T * H_.inv() * g_)[0] / 2", "half = (g_.T * H_.inv() * g_)[0]"),
    ],
    "beyond/one-regression": [
        ("tilt = 2 * at / sigma**2", "tilt = at / sigma**2"),  # p for p/2
        ("goes = -X * (X.dot(at) - unlucky)", "goes = X * (X.dot(at) - unlucky)"),
        ("W = at.dot(at) / sigma**2", "W = at.dot(at) / (2 * sigma**2)"),
        ("(m - 1) * h**2 * delta**2) / B", "m * h**2 * delta**2) / B"),
        ("(2 * loss * h / B, sp.log(c))", "(loss * h / B, sp.log(c))"),
        (
            "sp.log(1 + (m - 1) * (c - 1)) / (m - 1))):",
            "sp.log(1 + m * (c - 1)) / m)):",
        ),
        (  # κ for κ + ½, and its neighbours
            "for alpha, power in ((0, kappa + half), (half, kappa),",
            "for alpha, power in ((0, kappa - half), (half, kappa),",
        ),
        ("(1, kappa - half)):", "(1, kappa + half)):"),
        ("inside = 1 + 2 * p * delta - sigma", "inside = 1 + p * delta - sigma"),
        (
            "p_max = (delta + sp.sqrt(sigma**2 + delta**2)) / sigma**2",
            "p_max = (-delta + sp.sqrt(sigma**2 + delta**2)) / sigma**2",
        ),
        (
            "S_a = sp.cosh(2 * a) + sp.sinh(2 * a) / 2",
            "S_a = sp.cosh(2 * a) - sp.sinh(2 * a) / 2",
        ),
        ("best = sp.exp(a) * sp.cosh(2 * a)", "best = sp.exp(a) * sp.cosh(a)"),
        ("L_perp = L - dL**2 / (2 * size2)", "L_perp = L + dL**2 / (2 * size2)"),
        ("root - G / (A * F)", "root - 2 * G / (A * F)"),
        ("diffusion - G / (A * (F + G**2 / A))", "diffusion - G / (A * (F - G**2 / A))"),
        ("eta**2 * size / 3", "eta**2 * size"),
        ("kick = rate * np.sqrt(mass)", "kick = rate * mass"),
        ("* p * (p - root) / 2) == 0", "* p * (p + root) / 2) == 0"),
    ],
    "beyond/jumps-and-memory": [
        (
            "c = sp.gamma(1 + al) * sp.sin(sp.pi * al / 2)",
            "c = sp.gamma(al) * sp.sin(sp.pi * al / 2)",
        ),
        ("exit_time = al * w**al / (2 * c * eps**al)", "exit_time = al * w**al / (c * eps**al)"),
        ("** (-1 - h / (eta * sh))", "** (-1 - 2 * h / (eta * sh))"),
        (
            "square = 1 - 2 * eta + eta**2 * (1 + 2 / B)",
            "square = 1 - 2 * eta + eta**2 * (1 + 1 / B)",
        ),
        ("apart = a**m / (1 - a**2)", "apart = 2 * a**m / (1 - a**2)"),
        ("sp.gamma(2 * hur) * h ** (-2 * hur)", "sp.gamma(2 * hur) * h ** (2 * hur - 2)"),
        ("law = 1 - 2 / z + 2 / z**2", "law = 1 - 2 / z + 1 / z**2"),
        ("(T - t) * (1 - memory), (t, 0, T))", "T * (1 - memory), (t, 0, T))"),
        ("/ 2 * S_ - curve**2 * S_)", "/ 2 * S_ + curve**2 * S_)"),
    ],
    "beyond/steps": [
        ("(2 * (1 + mu) - eta * H))", "(2 * (1 - mu) - eta * H))"),
        ("V = B / eta * (2 - eta * Ha)", "V = B / eta * (2 + eta * Ha)"),
        (
            "U = B / eta * (2 + eta * Hb)",
            "U = B / eta * (2 - eta * Hb)",
        ),  # 2/(2 − ηH) at the saddle
        ("(1 - (eta * H) ** 2 / 4)) == 0", "(1 - eta * H / 4)) == 0"),
        ("eta**2 * h**2 * (1 + 2 / B)))", "eta**2 * h**2 * (1 + 1 / B)))"),
        ("typical = max(sp.solve(product - 1, rate))", "typical = edge"),  # mean square for typical
        ("* (eta * lam - 4)) == 0", "* (eta * lam - 2)) == 0"),
        ("(2 - kap * eta * C / (2 * alp))) == 0", "(2 - kap * eta * C / alp)) == 0"),
        ("4 * alp**2 / C) == 0", "2 * alp**2 / C) == 0"),
        ("2 * (1 - mu**2) / (1 + mu - 2 * mu * phi)", "2 * (1 - mu**2) / (1 + mu - mu * phi)"),
        ("/ (4 * kap * alp * sharp)", "/ (2 * kap * alp * sharp)"),
    ],
    "beyond/no-barrier": [
        ("(1 - eta**2 * g**2)) == 0", "(1 + eta**2 * g**2)) == 0"),
        ("2 * sigma**2 / (2 - eta * h)) == 0", "2 * sigma**2 / (2 + eta * h)) == 0"),
        ("flow = -eta**2 * sigma**2 / 4", "flow = -eta**2 * sigma**2 / 2"),
        ("shaken - eta * s**2 / (2 - eta * h)", "shaken - eta * s**2 / (2 + eta * h)"),
        ("other - (kappa + d - 1) / kappa", "other - (kappa + d) / kappa"),
        ("edge * sigma**2 / (2 * B) - beta", "edge * sigma**2 / B - beta"),
        ("fixed - eta * G**2 / (2 * lam)", "fixed - eta * G**2 / lam"),
        ("turn**2 - 2 * eta * lam) == 0", "turn**2 - eta * lam) == 0"),
        ("- 4 * A / (sigma * sp.sqrt", "- 2 * A / (sigma * sp.sqrt"),
        ("power + (Ef / Es - 1)", "power + (Ef / Es + 1)"),
    ],
    "beyond/other-drives": [
        ("(eta / (1 - beta) * change + v + pull)", "(eta / (1 + beta) * change + v + pull)"),
        ("lam = (sp.sqrt(1 + 4 * M * Hb) - 1)", "lam = (sp.sqrt(1 + 4 * M * Hb) + 1)"),
        ("* (1 + k) / (Hb + k * Ha)", "* (1 + k) / (Ha + k * Hb)"),
        ("assert sp.simplify(f - sp.sqrt(q)) == 0", "assert sp.simplify(f - q) == 0"),
        ("stated = (3 + 4 * (d - 1)", "stated = (3 + 2 * (d - 1)"),
        ("rest = blurred - (x**4 / 4 - (1 - 3 *", "rest = blurred - (x**4 / 4 - (1 - 1 *"),
        ("({rho: s * small, C: small**-2})", "({rho: (s * small) ** 2, C: small**-2})"),  # ρ for ρ²
        ("/ (a * (2 - eta * a))", "/ (a * (2 + eta * a))"),
        ("phi = B / eta * (place.T", "phi = B / eta / 2 * (place.T"),
        ("- sp.diff(spread_, x) / 2) == 0", "- sp.diff(spread_, x)) == 0"),
        ("+ 4 * k * (1 + turn**2))) / 2", "+ 4 * k * (1 - turn**2))) / 2"),
        ("- 2 * sp.diff(d_, q_) * sp.diff(phi", "- sp.diff(d_, q_) * sp.diff(phi"),
    ],
    "beyond/what-flatness-is-good-for": [
        (
            "risen = ((sp.eye(2) - fade) * sig).trace() / 4",
            "risen = ((sp.eye(2) - fade) * sig).trace() / 2",
        ),
        ("best - beta / (h + beta / lam**2)", "best - beta / (h - beta / lam**2)"),
        ("(sp.log(1 + r) / 2 + (1 / (1 + r) - 1)", "(sp.log(1 + r) / 2 + (1 / (1 + r) + 1)"),
        ("assert H == 2 * slope**2 and", "assert H == slope**2 and"),
        ("E = barrier / (eta * C / 2)", "E = barrier / (eta * C)"),
        ("(h_i, sp.sqrt(c / (mul * h_i)))", "(h_i, sp.sqrt(c / mul))"),
        ("sp.log((10 + gam) / (1 + gam)) / 2", "sp.log((10 + gam) / (1 + gam))"),
        ("((v_, 4), (W_, -2))", "((v_, 2), (W_, -2))"),
        ("after(W_, v_, b**4 * eta)", "after(W_, v_, b**2 * eta)"),
        ("mean_ - length**2 * (h11 + h22) / 4", "mean_ - length**2 * (h11 + h22) / 2"),
        ("(2 * sp.exp(d / D) - 1) / K) == 0", "(sp.exp(d / D) - 1) / K) == 0"),
        ("sd**2 * h_p**2).applyfunc", "sd**2 * h_p).applyfunc"),
        ("- sp.sqrt(Hs / Hf)) == 0", "- sp.sqrt(Hf / Hs)) == 0"),
    ],
    "beyond/cousins": [
        ("assert mean == sigma**2 * stiffness", "assert mean == sigma**2 * stiffness**2"),
        ("(fresh / eta, eta, 0) == sigma**2 / 2", "(fresh / eta, eta, 0) == sigma**2"),
        ("** 2 * sigma**2 * h == sigma**2 / h", "** 2 * sigma**2 * h == sigma**2"),
        ("f * sp.diff(f, x, 2)).subs(x, place)", "f**2 * sp.diff(f, x, 2)).subs(x, place)"),
        ("rest[xx] - power / (h * (h + nu))", "rest[xx] - power / (h * (h - nu))"),
    ],
    "beyond/the-map": [
        ("D = eta / 2 * sigma**2 * h / B", "D = eta / 2 * h / B"),  # the noise of another σ
        ("(drift - E * h / (2 * eta * rise)) == 0", "(drift - E * h / (eta * rise)) == 0"),
        ("/ (4 * sp.pi * rise)", "/ (2 * sp.pi * rise)"),
        ("(1 - 0.6 + 0.09 * (1 + 2 / 4.5))", "(1 - 0.6 + 0.09 * (1 + 1 / 4.5))"),
        ("sp.Float(rate * np.sqrt(q / batch))", "sp.Float(rate * np.sqrt(q) / batch)"),
        ("patience = sp.log(2) * E * cross", "patience = sp.log(2) * cross"),
    ],
}


def with_source(cell, name):
    """A cell, compiled, whose functions can be read back: records look at their source."""
    linecache.cache[name] = len(cell), None, (cell + "\n").splitlines(True), name
    return compile(cell, name, "exec")


@pytest.fixture(scope="module")
def derivations():
    """What every slip raised, in the state that the chapter's cells before it have left."""
    raised = {}
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # agg cannot show
        for chapter, slips in SLIPS.items():
            text = ROOT / "book" / f"{chapter}.md"
            cells, names = notebooks.code_of(jupytext.read(text)), {"__name__": "__main__"}
            torch.set_default_dtype(torch.float32)  # a chapter may choose another
            where = {}
            for right, wrong in slips:
                mutated("\n".join(cells), right, wrong)
                (place,) = [i for i, cell in enumerate(cells) if right in cell]
                where.setdefault(place, []).append((right, wrong))
            parts = list(pieces(cells, where))
            wanted = {k for k, (i, _) in enumerate(parts) if i in where}
            for k in needed([part for _, part in parts], wanted):
                i, part = parts[k]
                for right, wrong in where.get(i, []):
                    error = None
                    try:
                        exec(mutated(part, right, wrong), dict(names))
                    except Exception as caught:
                        error = caught
                    raised[chapter, right, wrong] = error
                exec(with_source(part, f"<{chapter} {i}.{k}>"), names)  # without the slip it holds
        plt.close("all")
        torch.set_default_dtype(torch.float32)
    return raised


@pytest.mark.parametrize(
    ("chapter", "right", "wrong"),
    [pytest.param(c, *slip, id=f"{c}: {slip[1]}") for c, slips in SLIPS.items() for slip in slips],
)
def test_a_slip_in_a_derivation_is_noticed(chapter, right, wrong, derivations):
    assert isinstance(derivations[chapter, right, wrong], AssertionError)

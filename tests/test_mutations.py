"""The classic mistakes, made on purpose: the project's checks must notice every one.

A mistake in the package is made in a copy, and named tests are run on that copy; all of them must
fail, by their assertions. Slips in a derivation are made in test_slips, unfit notebooks and pages
in test_stale and test_unfit.
"""

import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.mutate import Pytests, mutated

ROOT = Path(__file__).resolve().parent.parent

AMPLITUDE = "sp.sqrt(2 * dt) * factor[i, j] * z"
TOP = "np.sum(np.log(np.abs(top))) - np.sum(np.log(bottom))"
SHARES, SWAPPED = "(_s / _Ha + (1 - _s) / _Hb)", "(_s / _Hb + (1 - _s) / _Ha)"
EXACT_WELL = (
    "test_theory.py::"
    "test_sgd_escape_time_is_exact_in_the_piecewise_well_under_the_isothermal_convention"
)
PREFACTORS = (
    "test_theory.py::"
    "test_the_prefactor_of_each_convention_is_what_quadrature_tends_to[curvatures{}-{}]"
)
DRIFT = "        update.append(sp.Add(x, -dt * slope, *kicks))\n"
CONTRACTED = (
    "a, b, c = arguments\n        flags = ['contract']\n"
    "        return builder.fadd(builder.fmul(a, b, flags=flags), c, flags=flags)"
)
UNBIASED = (
    "test_splitting.py::"
    "test_the_estimate_has_no_bias_whatever_the_level_and_however_few_the_paths[{}]"
)
CENSORED_ERROR = "        if self.censored:\n            return self.mean / np.sqrt(self.escaped)\n"

# name: (file, what is right, what is wrong, the tests that must fail)
MISTAKES = {
    "a certain answer whose curvature is none": (
        "losses.py",
        "    wrong = wrong.clamp(min=1 - math.log(torch.finfo(wrong.dtype).max))\n",
        "",
        "test_networks.py::test_the_loss_of_two_classes_has_curvature_zero_far_out_not_nan[1000.0]",
    ),
    "a flow that ends a step early or late": (
        "flattening.py",
        "        step = time / count\n",
        "",
        "test_flattening.py::test_a_flow_ends_when_it_is_asked_to[1.0-0.3]",
    ),
    "columns of any size, without the size": (
        "dataset.py",
        "np.where(far, size, 1.0)",
        "np.where(far, 1.0, 1.0)",
        "test_data.py::test_columns_of_any_size_are_standardised[1e+200]",
    ),
    "weight decay of twice its size": (
        "model.py",
        "self.weight_decay / 2 * (theta**2)",
        "self.weight_decay * (theta**2)",
        "test_modules.py::test_derivatives_are_those_of_plain_autograd[recurrence]",
        "test_modules.py::test_replicas_are_plain_training_loops_one_by_one[convolution]",
    ),
    "a sequence costs the sum over its places": (
        "_module.py",
        "found.flatten(len(lead)).mean(-1)",
        "found.flatten(len(lead)).sum(-1)",
        "test_modules.py::test_replicas_are_plain_training_loops_one_by_one[attention]",
    ),
    "a residual's whole square": (
        "losses.py",
        "((out - y) ** 2).sum(-1) / 2",
        "((out - y) ** 2).sum(-1)",
        "test_modules.py::test_public_losses_are_torchs",
        "test_modules.py::test_replicas_are_plain_training_loops_one_by_one[pictures]",
    ),
    "the two classes exchanged": (
        "losses.py",
        "(1 - 2 * _alone(out, y))",
        "(2 * _alone(out, y) - 1)",
        "test_modules.py::test_public_losses_are_torchs",
        "test_networks.py::test_binary_cross_entropy_is_that_of_torch_and_stays_finite",
    ),
    "a model that is told from another by its weights": (
        "_module.py",
        "            part.data.zero_()\n",
        "            part.data.mul_(1)\n",
        "test_modules.py::test_the_digest_is_that_of_code_and_buffers_not_of_weights",
    ),
    "all replicas of a module on the first one's weights": (
        "_module.py",
        "name: block.expand(*shape, *block.shape[len(lead) :]).flatten(0, len(shape) - 1)",
        "name: block.expand(*shape, *block.shape[len(lead) :]).flatten(0, len(shape) - 1)[:1]"
        ".expand(math.prod(shape), *block.shape[len(lead) :])",
        "test_modules.py::test_leading_dimensions_are_replicas[mlp]",
    ),
    "noise sqrt(D) dW instead of sqrt(2 D) dW": (
        "simulate/rules.py",
        AMPLITUDE,
        AMPLITUDE.replace("2 * ", ""),
        "test_stationary.py::test_white_noise_ends_in_the_boltzmann_density",
        "test_simulate.py::test_two_ends_are_found_with_the_right_odds",
    ),
    "a factor two lost in a full matrix": (
        "_diffusion.py",
        "np.linalg.cholesky(np.array(diffusion.tolist(), dtype=float))",
        "np.linalg.cholesky(np.array(diffusion.tolist(), dtype=float) / 2)",
        "test_stationary.py::test_a_full_matrix_gives_the_gaussian_of_the_lyapunov_equation",
    ),
    "white noise of twice the D that was asked for": (
        "noise.py",
        "strength = sp.sympify(self.diffusion_constant)",
        "strength = 2 * sp.sympify(self.diffusion_constant)",
        "test_stationary.py::test_white_noise_ends_in_the_boltzmann_density",
        "test_simulate.py::test_mean_to_the_top_needs_the_shift",
        "test_exact.py::test_free_diffusion",
        "test_noise.py::test_white_noise_is_a_multiple_of_the_identity",
    ),
    "eta/B instead of eta/2B": (
        "noise.py",
        "/ (2 * sp.sympify(self.batch_size))",
        "/ sp.sympify(self.batch_size)",
        "test_noise.py::test_hessian_noise_is_eta_over_two_b_times_the_curvature_and_its_floor",
        EXACT_WELL,
    ),
    "Ito and isothermal exchanged in the quadrature": (
        "_panels.py",
        "self.alpha = convention_exponent(convention)",
        "self.alpha = 1 - convention_exponent(convention)",
        "test_exact.py::test_conventions_differ_in_the_prefactor_as_the_diffusion_does",
        "test_exact.py::test_against_the_backward_equation_solved_as_an_ode[ito]",
        "test_exact.py::test_stationary_density_carries_no_current[isothermal]",
    ),
    "Ito and isothermal exchanged by name": (
        "noise.py",
        '{"ito": 0.0, "stratonovich": 0.5, "isothermal": 1.0}',
        '{"ito": 1.0, "stratonovich": 0.5, "isothermal": 0.0}',
        "test_exact.py::test_conventions_differ_in_the_prefactor_as_the_diffusion_does",
        "test_exact.py::test_against_the_backward_equation_solved_as_an_ode[isothermal]",
        "test_exact.py::test_stationary_density_carries_no_current[ito]",
    ),
    "walkers in the isothermal convention": (
        "simulate/rules.py",
        DRIFT,
        "        slope -= sp.diff(noise.diffusion_matrix(landscape)[i, i], x)\n" + DRIFT,
        "test_simulate.py::test_state_dependent_noise_is_in_the_ito_convention",
        "test_stationary.py::test_state_dependent_noise_ends_in_the_density_of_ito",
    ),
    "Ito and isothermal exchanged on the grid": (
        "generator.py",
        "alpha = convention_exponent(convention)",
        "alpha = 1 - convention_exponent(convention)",
        "test_generator.py::test_stationary_density_is_that_of_quadrature[ito]",
        "test_generator.py::"
        "test_first_passage_times_converge_to_quadrature_at_second_order[isothermal]",
    ),
    "minimum and saddle exchanged in Eyring-Kramers": (
        "theory/diffusion.py",
        TOP,
        "np.sum(np.log(bottom)) - np.sum(np.log(np.abs(top)))",
        "test_theory.py::test_eyring_kramers_in_one_dimension_is_kramers",
        "test_theory.py::test_eyring_kramers_takes_the_whole_determinant_of_the_saddle",
    ),
    "the way down left out of the saddle's determinant": (
        "theory/diffusion.py",
        TOP,
        "np.sum(np.log(np.abs(top[1:]))) - np.sum(np.log(bottom))",
        "test_theory.py::test_eyring_kramers_takes_the_whole_determinant_of_the_saddle",
        "test_theory.py::test_eyring_kramers_against_the_exact_time_in_a_stiff_valley",
    ),
    "minimum and saddle exchanged in the exponent of SGD": (
        "theory/sgd.py",
        SHARES,
        SWAPPED,
        EXACT_WELL,
    ),
    "minimum and saddle exchanged in the prefactor of SGD": (
        "theory/sgd.py",
        "(_Ha ** (1 - power) * _Hb**power)",
        "(_Ha**power * _Hb ** (1 - power))",
        EXACT_WELL,
        PREFACTORS.format(0, "ito"),
        PREFACTORS.format(1, "isothermal"),
    ),
    "the ratio of the two noises turned over": (
        "theory/diffusion.py",
        "(_Db / _Da) ** (",
        "(_Da / _Db) ** (",
        PREFACTORS.format(0, "ito"),
        PREFACTORS.format(1, "isothermal"),
    ),
    "the step's factor with one over C in the place of its square": (
        "theory/sgd.py",
        "_change / _D**2",
        "_change / _D",
        "test_theory.py::test_the_step_changes_the_time_by_a_factor_that_stays[left]",
        "test_theory.py::test_the_factor_of_the_step_in_closed_form",
    ),
    "a formula whose page loses its 2": (
        "theory/diffusion.py",
        r".. math:: \tau = \frac{2 \pi}{\sqrt{L",
        r".. math:: \tau = \frac{\pi}{\sqrt{L",
        "test_theory.py::test_the_docstring_writes_the_formula_that_is_computed[kramers_time-]",
    ),
    "one over B forgotten": (
        "noise.py",
        "/ (2 * sp.sympify(self.batch_size))",
        "/ 2",
        "test_noise.py::test_hessian_noise_is_eta_over_two_b_times_the_curvature_and_its_floor",
        EXACT_WELL,
    ),
    "eta instead of eta/2 times the covariance of minibatches": (
        "noise.py",
        "return (sp.sympify(self.learning_rate) / 2 * covariance)",
        "return (sp.sympify(self.learning_rate) * covariance)",
        "test_noise.py::test_minibatch_noise_is_the_covariance_over_all_minibatches[1-True-1]",
    ),
    "half the variance in the kicks of the discrete walker": (
        "_walk.py",
        "return np.sqrt(2 * step * noise.diffusion(",
        "return np.sqrt(step * noise.diffusion(",
        "test_discrete.py::test_walkers_of_sgd_take_the_time[0.1]",
        "test_discrete.py::test_a_quadratic_valley_rests_with_the_width_of_the_discrete_walk",
    ),
    "a rate from u to v taken for one from v to u": (
        "theory/valleys.py",
        "finite=False, remedy=remedy))",
        "finite=False, remedy=remedy)).T",
        "test_theory.py::test_two_valleys_of_a_chain_are_occupied_like_their_times",
        "test_theory.py::test_a_chain_is_balanced_and_keeps_its_digits",
    ),
    "no correction of the time step": (
        "simulate/program.py",
        "BARRIER_SHIFT = 0.5825971579390106",
        "BARRIER_SHIFT = 0.0",
        "test_simulate.py::test_mean_to_the_top_needs_the_shift",
    ),
    "a correction of the time step away from the walker": (
        "simulate/program.py",
        "return g + BARRIER_SHIFT",
        "return g - BARRIER_SHIFT",
        "test_simulate.py::test_mean_to_the_top_needs_the_shift",
        "test_program.py::test_the_shift_is_towards_the_walker_for_every_interface",
    ),
    "contraction left to the compiler": (
        "simulate/cpu.txt",
        "return builder.fma(*arguments)",
        CONTRACTED,
        "test_program.py::test_the_bits_are_the_same_on_other_instruction_sets[:1-1]",
    ),
    "lanes in half registers": (
        "simulate/cpu.txt",
        '"prefer-vector-width"="512"',
        '"prefer-vector-width"="256"',
        "test_program.py::test_with_avx512_whole_registers_are_used_and_begin_at_cache_lines",
    ),
    "lanes that begin anywhere": (
        "simulate/cpu.txt",
        "numbers.align = 64",
        "numbers.align = 4",
        "test_program.py::test_with_avx512_whole_registers_are_used_and_begin_at_cache_lines",
    ),
    "neighbours with one random stream": (
        "simulate/arithmetic.txt",
        "mix(np.uint64(walker)",
        "mix(np.uint64(walker >> 1)",
        "test_program.py::test_streams_of_neighbouring_walkers_and_seeds_are_unrelated",
    ),
    "a walker at infinity counted as an escape": (
        "simulate/cpu.txt",
        "ESCAPED if there else DIVERGED",
        "ESCAPED",
        "test_simulate.py::"
        "test_a_jump_beyond_the_exit_is_an_escape_as_far_as_single_precision_reaches[1e+30-0]",
        "test_simulate.py::test_not_a_number_is_divergence",
    ),
    "a thread of a GPU that goes on with the stream of the walker before": (
        "simulate/program.py",
        '"a, b, c, d = seeds(seed, first + w)"',
        '"a, b, c, d = seeds(seed, first + max(w - 1, 0))"',
        "test_cuda.py::test_the_cuda_kernel_gives_the_bits_of_the_cpu[quartic]",
    ),
    "a run that forgets a block": (
        "simulate/run.py",
        "past, pool = self.result(),",
        "past, pool = self._past or self.result(),",
        "test_run.py::test_blocks_change_no_bit[line-100]",
    ),
    "a run that is resumed with the first walkers of all": (
        "simulate/run.py",
        'first=about["first"]',
        "first=0",
        "test_reach.py::test_a_run_of_later_walkers_is_resumed_after_an_odd_number_of_steps[13]",
    ),
    "patience that no escape renews": (
        "simulate/run.py",
        "(waited if done == seen else 0)",
        "waited",
        "test_reach.py::test_each_escape_renews_the_patience",
    ),
    "a bound by the upper sides of the box": (
        "simulate/precision.py",
        "np.abs(self.inside(np.transpose(box)))",
        "self.inside(np.transpose(box))",
        "test_program.py::test_any_coordinate_beyond_the_bound_diverges[0-side0]",
    ),
    "lanes that begin with half a pair of those before": (
        "simulate/cpu.txt",
        """        odd = False
        for t in""",
        """        odd = (base - begin) // LANES * np.sum(counts) % 2 == 1
        for t in""",
        "test_program.py::test_lanes_and_chunks_change_no_bit[16-64]",
    ),
    "the shards of a sweep all begin at the first walker": (
        "simulate/sweep.py",
        "seed=seed, first=first, keep=False",
        "seed=seed, first=0, keep=False",
        "test_sweep.py::test_any_size_of_shard_gives_the_serial_result[499]",
    ),
    "minibatches drawn without regard to what was drawn": (
        "simulate/draws.py",
        "(m - j) * 2.0**-24",
        "m * 2.0**-24",
        "test_rules.py::test_minibatches_follow_the_multinomial_or_the_hypergeometric_law[6-3-False]",
    ),
    "a first step with the random numbers of the start": (
        "simulate/program.py",
        'for i in range(size)), *parts["start"], *leave]',
        'for i in range(size)), *parts["start"]]',
        "test_step.py::test_a_coloured_kick_is_stationary_from_the_start[True]",
    ),
    "a start in coordinates that walkers do not have": (
        "simulate/precision.py",
        "(x, self._value(x, e)) for x, e in start.values",
        "(x, e) for x, e in start.values",
        "test_step.py::test_a_start_is_the_same_for_any_cut_and_from_any_origin[True]",
    ),
    "a jump far beyond the exit counted as divergence": (
        "simulate/program.py",
        '*reach[:-1], f"there = {reached} & (reach < infinity)"',
        '*reach, f"there = {reached} & finite"',
        "test_program.py::test_any_coordinate_beyond_the_bound_diverges[0-side0]",
    ),
    "sums of weights for weights": (
        "simulate/draws.py",
        'f" - {name}" for name in held',
        '"" for name in held',
        "test_step.py::test_weighted_minibatches_follow_the_multinomial_law[1-weights0]",
    ),
    "an epoch drawn without regard to what it has used": (
        "simulate/step.py",
        "samples[j] - 1 + seen[j]",
        "samples[j] - 1",
        "test_step.py::test_an_epoch_is_every_order_with_the_same_probability[3-1]",
    ),
    "an epoch that is one batch too long": (
        "simulate/step.py",
        "goes_on = used < m - size",
        "goes_on = used < m",
        "test_step.py::test_an_epoch_is_every_order_with_the_same_probability[6-2]",
    ),
    "a clock of single precision": (
        "simulate/problem.py",
        "clock.astype(float) + states[:, -1]",
        "clock.astype(float)",
        "test_step.py::test_a_clock_keeps_the_digits_of_a_double",
    ),
    "steps of a schedule counted as if each took dt": (
        "simulate/problem.py",
        "if CLOCK not in self._step.state:",
        "if True:",
        "test_step.py::test_escape_times_are_sums_of_a_schedule",
    ),
    "another variable observed": (
        "simulate/problem.py",
        "states[..., place[symbol]]",
        "states[..., place[symbol] - 1]",
        "test_step.py::test_velocity_is_returned_and_observed",
    ),
    "a lane refilled with the stream of another walker": (
        "simulate/program.py",
        '" = seeds(seed, first + w)"',
        '" = seeds(seed, first + l)"',
        "test_simulate.py::test_a_walker_keeps_its_stream_when_others_are_added_and_seeds_differ",
    ),
    "ties that survive a round of splitting": (
        "simulate/_branching.py",
        "weights[r] *= 1 - len(dead) / walkers",
        "weights[r] *= 1 - discard / walkers",
        UNBIASED.format("few stairs"),
    ),
    "all paths of the last round counted as escapes": (
        "simulate/_branching.py",
        "np.count_nonzero(tops >= GONE) / walkers",
        "np.any(tops >= GONE)",
        UNBIASED.format("distance"),
    ),
    "a branch from the beginning of a path": (
        "simulate/_branching.py",
        "above=goal[again]",
        "above=-GONE",
        UNBIASED.format("distance"),
        "test_splitting.py::test_an_exponent_of_30_on_a_line[found]",
    ),
    "a branch that goes on in the stream of its parent": (
        "simulate/_branching.py",
        "family.words[cut] = streams.words(cut)",
        "family.words[cut] = family.words[parents]",
        UNBIASED.format("distance"),
    ),
    "the loop that settles counted with the others": (
        "simulate/_source.py",
        "if turn == 1:",
        "if turn == 0:",
        "test_splitting.py::test_many_small_repetitions_give_the_exact_mean_time",
    ),
    "the errors of a ratio added where they cancel": (
        "simulate/rare.py",
        "p - self.loops / np.mean(self.loops)",
        "p + self.loops / np.mean(self.loops)",
        "test_splitting.py::test_errors_are_those_of_a_ratio",
    ),
    "walkers that stayed counted as if they had escaped": (
        "_estimates.py",
        "self.total_time / self.escaped)",
        "self.total_time / self.walkers)",
        "test_escape.py::test_the_walkers_that_stayed_are_not_left_out",
        "test_escape.py::test_a_simulation_that_ended_early_still_gives_the_rate",
    ),
    "the error of a sample where walkers stayed": (
        "_estimates.py",
        CENSORED_ERROR,
        "",
        "test_escape.py::test_with_censoring_mean_and_error_are_those_of_the_likelihood",
        "test_escape.py::test_the_mean_is_unbiased_and_its_error_is_what_it_says[censored]",
    ),
    "a verdict that looks at one side only": (
        "ledger.py",
        "abs(judged) > LIMIT",
        "judged > LIMIT",
        "test_ledger.py::test_beyond_the_limit_a_claim_deviates[predicted--1-simulated]",
    ),
    "what is absorbed counted twice in a chain": (
        "_elimination.py",
        "onward[k] = matrix[k, :k].sum() + leak[k]",
        "onward[k] = matrix[k, :k].sum() + 2 * leak[k]",
        "test_chains.py::test_elimination_keeps_the_digits_of_a_probability_of_1e_minus_30",
    ),
    "resting shares from the wrong side of a chain": (
        "_elimination.py",
        "shares[:k] @ self.passed[:k, k]",
        "shares[:k] @ self.passed[k, :k]",
        "test_chains.py::test_elimination_keeps_the_digits_of_a_probability_of_1e_minus_30",
    ),
    "a batch counted once however many orders it is drawn in": (
        "chains.py",
        "weight = orders / m**size if",
        "weight = 1 / many if",
        "test_chains.py::test_minibatches_are_their_own_walk",
    ),
    "an action of twice what the noise charges": (
        "_drift.py",
        "np.sum(against * steps, axis=1)) / 2",
        "np.sum(against * steps, axis=1))",
        "test_action.py::test_on_a_line_it_is_the_integral_of_the_slope_over_d",
    ),
    "a curve that does not feel how its price changes across": (
        "_curve.py",
        "momenta[:-1] - momenta[1:] + (pulls[:-1] + pulls[1:]) / 2",
        "momenta[:-1] - momenta[1:] - (pulls[:-1] + pulls[1:]) / 2",
        "test_action.py::test_independent_directions_add",
    ),
    "a climb that goes down": (
        "simulate/optimisers.py",
        "x + reach * g",
        "x - reach * g",
        "test_optimisers.py::test_sam_with_normal_noise_is_the_loop_by_hand[same-True]",
    ),
    "the full gradient climbed where another minibatch is asked for": (
        "simulate/optimisers.py",
        'slopes(landscape) if ascent == "full"',
        'slopes(landscape) if ascent == "independent"',
        "test_optimisers.py::test_sam_on_a_parabola_has_its_exact_variance[independent-2.5-0.3]",
    ),
    "averages that are not corrected for their start at zero": (
        "simulate/optimisers.py",
        "[a / w for a in m]",
        "[a for a in m]",
        "test_optimisers.py::test_adam_is_the_loop_by_hand[True]",
    ),
    "epsilon under the root": (
        "simulate/optimisers.py",
        "sp.sqrt(v) + epsilon",
        "sp.sqrt(v + epsilon)",
        "test_optimisers.py::test_adam_is_the_loop_by_hand[False]",
    ),
    "a learning rate that falls as one over t": (
        "simulate/optimisers.py",
        "+ epsilon) / sp.sqrt(count + 1)",
        "+ epsilon) / (count + 1)",
        "test_optimisers.py::test_decay_goes_by_the_time_of_the_rule_below",
    ),
    "a gradient that does not know how long the weights are": (
        "simulate/weights.py",
        "(g - u * radial) / length",
        "(g - u * radial)",
        "test_optimisers.py::test_normalised_weights_that_decay_are_the_loop_by_hand",
    ),
    "labels whose noise does not go down with their number": (
        "simulate/drives.py",
        "dt * spread / size * n",
        "dt * spread * n",
        "test_drives.py::test_noisy_labels_are_the_loop_by_hand[sign]",
    ),
    "a wait that may be zero": (
        "simulate/drives.py",
        "sp.Max(-sp.log(w), 2.0**-25)",
        "-sp.log(w)",
        "test_drives.py::test_no_stable_kick_is_lost_in_single_precision[0.5]",
    ),
    "a stable kick of half its angle": (
        "simulate/drives.py",
        "(2 - alpha) + (alpha - 1) * u",
        "(2 - alpha) + alpha * u",
        "test_drives.py::test_stable_kicks_have_their_characteristic_function[1.5-2]",
    ),
    "a memory that begins empty": (
        "simulate/memory.py",
        "normals=begin) if own else None",
        "normals=begin) if not own else None",
        "test_drives.py::test_the_first_kick_has_all_of_its_variance[0.3]",
        "test_drives.py::test_the_first_kick_has_all_of_its_variance[0.7]",
    ),
    "what is slower than all states forgotten": (
        "simulate/memory.py",
        "white = scale * slowest ** (1 - h) / (1 - h)",
        "white = 0.0",
        "test_drives.py::test_sums_of_kicks_grow_as_fractional_brownian_motion_does[0.35-30]",
    ),
    "half the heat of a velocity": (
        "simulate/drives.py",
        "sp.sqrt(1 - keep**2)",
        "sp.sqrt(1 - keep)",
        "test_drives.py::test_inertia_is_the_loop_by_hand",
    ),
    "a drift that pushes the other way": (
        "_links.py",
        "tuple(-b for b in drift)",
        "tuple(b for b in drift)",
        "test_generator.py::test_the_drift_of_a_loss_written_out_is_the_loss[ito]",
        "test_generator.py::test_a_wind_on_a_torus_carries_a_density_around",
    ),
    "the spurious drift of a full D with the wrong sign": (
        "_links.py",
        "tuple(s - more for s, more",
        "tuple(s + more for s, more",
        "test_generator.py::test_a_full_diffusion_of_the_state_under_the_isothermal_convention",
    ),
    "a full D whose links lean the other way": (
        "_links.py",
        "np.stack([-base[:, :, 1], base[:, :, 0]], axis=-1)",
        "np.stack([base[:, :, 1], base[:, :, 0]], axis=-1)",
        "test_generator.py::test_a_linear_drift_with_a_full_diffusion_is_lyapunovs",
    ),
    "a cell on the seam of a ring counted on one side": (
        "_mesh.py",
        "if whole else (held[0] + held[-1]) / 2",
        "if whole else held[0]",
        "test_generator.py::test_a_periodic_box_may_begin_anywhere",
    ),
    "half cells at the ends of a ring": (
        "_mesh.py",
        "            if not around:\n",
        "            if around is not None:\n",
        "test_generator.py::test_rates_of_a_ring",
        "test_transitions.py::test_a_ring_with_a_wind_is_known_in_closed_form",
    ),
    "an edge between nodes that costs no error": (
        "generator.py",
        "error = error + np.abs(grids[-1]._shrunk()._rates(count)[0] - rates[-1])",
        "error = error + 0",
        "test_generator.py::test_a_rate_that_does_not_converge_as_a_square_says_so",
    ),
    "a committor taken for that of the time-reversed walk": (
        "transitions.py",
        "np.divide(last, weight, out=backward, where=(weight > 0) & ~(a | b).ravel())",
        "last, backward = weight * (1 - forward), 1 - forward",
        "test_transitions.py::test_a_ring_with_a_wind_is_known_in_closed_form",
        "test_transitions.py::test_the_flux_is_the_same_through_every_surface",
    ),
    "a current in which each link counts at both of its ends": (
        "transitions.py",
        "operator.mesh.steps(flows.col, flows.row) / 2",
        "operator.mesh.steps(flows.col, flows.row)",
        "test_transitions.py::test_the_flux_is_the_same_through_every_surface",
        "test_transitions.py::test_a_ring_with_a_wind_is_known_in_closed_form",
    ),
    "a rate of leaving that forgets in which set a walker was last": (
        "transitions.py",
        "return self.rate / self.share",
        "return 2 * self.rate",
        "test_transitions.py::test_on_a_line_a_round_trip_takes_both_passages[ito]",
        "test_transitions.py::test_the_rate_is_one_over_the_passage_from_where_walkers_arrive",
    ),
    "minibatches of one sample, whatever B": (
        "_tilted.py",
        "return self.batch_size / self.learning_rate",
        "return 1 / self.learning_rate",
        "test_action.py::test_in_one_dimension_it_is_the_integral_of_the_root[True-3]",
    ),
    "weights that grow by their decay": (
        "updates.py",
        "return slope + self.weight_decay * theta if self.weight_decay else slope",
        "return slope - self.weight_decay * theta if self.weight_decay else slope",
        "test_replica_optimisers.py::test_a_rule_is_torch_s_own_optimiser[descent]",
        "test_replica_optimisers.py::test_the_length_of_weights_rests_where_decay_and_steps_of_length_eta_"
        "balance",
    ),
    "SAM that goes down before it looks": (
        "optimisers.py",
        "gradient(theta + self.radius *",
        "gradient(theta - self.radius *",
        "test_replica_optimisers.py::test_sam_climbs_by_the_gradient_that_it_names[same-True]",
        "test_replica_optimisers.py::test_sam_climbs_by_the_gradient_that_it_names[full-False]",
    ),
    "the two minibatches of SAM exchanged": (
        "optimisers.py",
        "{name: part[:, : self.batch_size] for name, part in draw.items()}",
        "{name: part[:, -self.batch_size :] for name, part in draw.items()}",
        "test_replica_optimisers.py::test_sam_climbs_by_the_gradient_that_it_names[independent-True]",
    ),
    "Adam corrected one iteration late": (
        "optimisers.py",
        "size = square / (1 - self.memory ** (iteration + 1))",
        "size = square / (1 - self.memory ** (iteration + 2))",
        "test_replica_optimisers.py::test_a_rule_is_torch_s_own_optimiser[Adam]",
    ),
    "Adam's decay without the learning rate": (
        "optimisers.py",
        "theta - rate * self.weight_decay * theta",
        "theta - self.weight_decay * theta",
        "test_replica_optimisers.py::test_a_rule_is_torch_s_own_optimiser[AdamW]",
    ),
    "flips of classes by the raw chance": (
        "optimisers.py",
        "(noise / self.strength * self.classes).floor()",
        "(noise * self.classes).floor()",
        "test_replica_optimisers.py::test_flipped_classes",
        "test_replica_optimisers.py::test_a_blurred_class_is_each_of_the_others_as_often",
    ),
    "importance weights upside down": (
        "_minibatches.py",
        "table = weights / np.where(chances > 0, chances, 1)",
        "table = weights * chances * len(chances) ** 2",
        "test_replica_optimisers.py::test_weights_and_probabilities[importance]",
        "test_replica_optimisers.py::"
        "test_samples_come_as_often_as_they_should_and_gradients_are_right_on_average",
    ),
    "divergence dated one iteration early": (
        "_fleet.py",
        "seen.masked_fill(going[:, 0] & ~finite(theta), k + 1)",
        "seen.masked_fill(going[:, 0] & ~finite(theta), k)",
        "test_replica_optimisers.py::"
        "test_a_replica_that_diverges_is_named_with_its_iteration_and_leaves_the_rest_alone",
    ),
    "a GPU that moves those who have escaped": (
        "_fleet.py",
        "        if rest:\n",
        "        if rest and False:\n",
        "test_replicas.py::test_what_is_written_for_a_gpu_trains_the_same_replicas[SGD]",
    ),
    "nine rounds of Philox": (
        "_philox.py",
        "_ROUNDS = 10",
        "_ROUNDS = 9",
        "test_philox.py::test_words_are_those_of_numpy_s_philox[cpu]",
    ),
    "a carry lost in the upper word": (
        "_philox.py",
        "other = below * high + (middle & _LOW)",
        "other = below * high",
        "test_philox.py::test_words_are_those_of_numpy_s_philox[cpu]",
    ),
    "whole numbers without refusals": (
        "_philox.py",
        "taken = (product & _LOW) >= (2**32 - high) % high",
        "taken = (product & _LOW) >= 0",
        "test_philox.py::test_whole_numbers_are_numpy_s[3000000001-cpu]",
    ),
    "a ziggurat without edges": (
        "_philox.py",
        "taken[at] = (layer == 0) | under",
        "taken[at] = True",
        "test_philox.py::test_normal_numbers_are_numpy_s_ziggurat[cpu]",
        "test_philox.py::test_normal_numbers_are_normal",
    ),
    "times in the learning rate of another replica": (
        "replicas.py",
        "rate = self._rate()",
        "rate = self._rate()[..., ::-1]",
        "test_replica_optimisers.py::test_times_count_each_replica_s_own_learning_rate",
    ),
    "a saddle sought downhill": (
        "_following.py",
        "part[:, :index] *= -1",
        "part[:, :index] *= 1",
        "test_passes.py::test_a_symmetry_finds_the_images_of_an_exit",
    ),
    "the escape direction towards the minimum": (
        "passes.py",
        "e * np.sign(e @ (self.down[1] - self.up[-2]))",
        "e * np.sign(e @ (self.up[-2] - self.down[1]))",
        "test_passes.py::test_the_halves_of_a_path_run_up_and_down_and_are_even",
    ),
    "half of a theorem's exponent": (
        "exponents.py",
        "climb = 2 * scale * way.barrier",
        "climb = scale * way.barrier",
        "test_exponents.py::test_noise_in_several_directions_is_that_along_e",
    ),
    "half of the integral along a path": (
        "exponents.py",
        "2 * process.scale * np.sum(climb",
        "process.scale * np.sum(climb",
        "test_exponents.py::test_on_a_line_every_exponent_is_an_integral",
    ),
    "the drift of the mean left in the scatter of curvatures": (
        "stability.py",
        "(lifted - lam[:, None] * S * lam)",
        "lifted",
        "test_stability.py::test_one_direction_in_closed_form[root0]",
    ),
    "the batch that a finite population allows, uncorrected": (
        "stability.py",
        "m * size / (m - 1 + size)",
        "m * size / (m + size)",
        "test_stability.py::test_without_replacement_the_scatter_of_a_batch_is_smaller",
    ),
    "eta for eta squared in the crowd at rest": (
        "leak.py",
        "rate**2 * self.covariance)",
        "rate * self.covariance)",
        "test_leak.py::test_a_level_with_even_noise_is_an_ornstein_uhlenbeck_radius",
    ),
    "a wall moved inwards by the overshoot": (
        "leak.py",
        "np.array(way.half_width) + kick",
        "np.array(way.half_width) - kick",
        "test_leak.py::test_a_box_on_a_line_is_that_of_the_exact_chain",
    ),
    "the null model's time and that of minibatches exchanged": (
        "_level.py",
        "dial * (self.fixed - ends)",
        "dial * (ends - self.fixed)",
        "test_leak.py::test_the_tilt_of_a_level_is_an_integral_of_roots",
    ),
    "a pull of eta/2B instead of eta/4B": (
        "flattening.py",
        "ratio / 4 * level(loss.detach())",
        "ratio / 2 * level(loss.detach())",
        "test_flattening.py::test_the_flow_is_that_of_an_ode_solver[0.7-0.7]",
    ),
    "a cloud that pulls with all of its trace": (
        "flattening.py",
        "(bend * cloud).sum() / 2, bend",
        "(bend * cloud).sum(), bend",
        "test_flattening.py::test_the_cloud_pulls_with_half_of_the_trace",
    ),
    "a relative sharpness with weights that are not squared": (
        "flatness.py",
        "float(weights**2 @ shared)",
        "float(abs(weights) @ shared)",
        "test_flatness.py::test_the_measures_are_what_their_names_say",
    ),
    "the weights out of a unit scaled like those into it": (
        "flatness.py",
        '[f"weight{layer + 1}"][unit] = -1',
        '[f"weight{layer + 1}"][unit] = 1',
        "test_flatness.py::test_copies_compute_the_same_and_share_three_measures[widths0-2]",
    ),
    "half the variance in the kicks of a chain": (
        "chains.py",
        "sp.sqrt(2 * step * d)",
        "sp.sqrt(step * d)",
        "test_chains.py::test_one_outcome_is_the_discrete_walker",
        "test_chains.py::test_noise_may_jump",
    ),
    "what each outcome loses counted without its odds": (
        "_landing.py",
        "total += 0 if is_open else weight * lost",
        "total += 0 if is_open else lost",
        "test_chains.py::test_steps_that_forget_where_they_were_are_a_geometric_law",
    ),
    "errors of a chain of links taken to fall as their length": (
        "action.py",
        "powers=(2, 4)",
        "powers=(1, 2)",
        "test_action.py::test_on_a_line_it_is_the_integral_of_the_slope_over_d",
    ),
    "a long step that is free": (
        "action.py",
        "(0, 0 * end, 0) if stay else process.jump(place, end)",
        "(0, 0 * end, 0) if True else process.jump(place, end)",
        "test_action.py::test_a_gaussian_regression_climbs_near_and_jumps_far[0.75-True]",
    ),
    "a step that begins where its price rises": (
        "_cumulants.py",
        "self.scale * (pull - q)[0]",
        "self.scale * (pull + q)[0]",
        "test_action.py::test_a_gaussian_regression_climbs_near_and_jumps_far[0.75-True]",
    ),
    "Gaussian minibatches whose drift bends the other way": (
        "_tilted.py",
        "weights = (off - 1) / drawn.shape[1]",
        "weights = (off + 1) / drawn.shape[1]",
        "test_action.py::test_where_noise_is_much_larger_than_the_slope_it_is_the_diffusion",
    ),
    "the first sample's gradient for each one's": (
        "_derivatives.py",
        "theta.detach().repeat_interleave(m, 0)",
        "theta.detach().repeat(m, 1)",
        "test_passes.py::test_derivatives_are_those_of_torch",
    ),
    "a way out that begins at the lower end": (
        "passes.py",
        "first = int(ends[1].value > ends[0].value)",
        "first = int(ends[1].value < ends[0].value)",
        "test_passes.py::test_the_halves_of_a_path_run_up_and_down_and_are_even",
    ),
    "minimum and saddle exchanged in the exponents of a network": (
        "exponents.py",
        "bends = e @ way.minimum.hessian @ e, -e @ way.saddle.hessian @ e",
        "bends = -e @ way.saddle.hessian @ e, e @ way.minimum.hessian @ e",
        "test_exponents.py::test_noise_in_several_directions_is_that_along_e",
    ),
    "twice the floor that was asked for": (
        "exponents.py",
        "at=at, floor=floor, **rates",
        "at=at, floor=2 * floor, **rates",
        "test_exponents.py::test_a_floor_alone_is_white_noise",
    ),
    "all replicas of a module from the start of the first": (
        "modules.py",
        'streams.stream(seed, "initial", i)',
        'streams.stream(seed, "initial", 0)',
        "test_modules.py::test_initial_values_are_those_of_the_layers",
    ),
    "a picture that costs the mean over its rows": (
        "modules.py",
        "len(found), flat=True)",
        "len(found), flat=False)",
        "test_modules.py::test_derivatives_are_those_of_plain_autograd[pictures]",
    ),
    "the score of the class with the wrong sign": (
        "losses.py",
        "out.logsumexp(-1) - chosen",
        "out.logsumexp(-1) + chosen",
        "test_modules.py::test_public_losses_are_torchs",
        "test_modules.py::test_derivatives_are_those_of_plain_autograd[mlp]",
    ),
    "weights that decay by the clock of another rule": (
        "simulate/weights.py",
        "time = step.duration or dt",
        "time = dt",
        "test_optimisers.py::test_decay_goes_by_the_time_of_the_rule_below",
    ),
    "kicks that undo each other taken to persist": (
        "simulate/memory.py",
        "old, new = -size * gone, size * fresh_",
        "old, new = size * gone, size * fresh_",
        "test_drives.py::test_sums_of_kicks_grow_as_fractional_brownian_motion_does[0.35-30]",
    ),
    "a push that never ends forgotten": (
        "simulate/memory.py",
        "keep, fresh_ = np.append(keep, 1.0), np.append(fresh_, 0.0)",
        "keep, fresh_ = np.append(keep, 0.0), np.append(fresh_, 1.0)",
        "test_drives.py::test_sums_of_kicks_grow_as_fractional_brownian_motion_does[0.8-30]",
    ),
    "two loops counted as one": (
        "simulate/splitting.py",
        "/ (_LOOPS * self.walkers)",
        "/ self.walkers",
        "test_splitting.py::test_many_small_repetitions_give_the_exact_mean_time",
    ),
    "repetitions that share their random numbers": (
        "simulate/splitting.py",
        'stream(self.seed, "splitting", 1 + r) for r in numbers',
        'stream(self.seed, "splitting", 1 + 0 * r) for r in numbers',
        "test_splitting.py::test_many_small_repetitions_give_the_exact_mean_time",
    ),
    "an exit of either condition taken for one of both": (
        "simulate/_watch.py",
        "(sp.Min if isinstance(exit, sp.And) else sp.Max)",
        "(sp.Max if isinstance(exit, sp.And) else sp.Min)",
        "test_splitting.py::test_the_level_of_an_exit_is_positive_in_the_exit_alone",
    ),
    "kicks of another direction's D": (
        "simulate/_gradient.py",
        "landscape.variables, slopes(landscape), factor.tolist(), strict=True",
        "landscape.variables, slopes(landscape), factor.T.tolist(), strict=True",
        "test_drives.py::test_kicks_of_a_full_matrix_go_by_its_factor",
    ),
    "a Gaussian that is twice as narrow at the sides of a box": (
        "leak.py",
        "np.exp(low - far**2 / 2)",
        "np.exp(low - far**2)",
        "test_leak.py::test_the_law_is_near_the_walkers[box]",
    ),
    "a level climbed along the softest direction": (
        "leak.py",
        "np.linalg.eigvals(self.spread @ self.hessian).real.max()",
        "np.linalg.eigvals(self.spread @ self.hessian).real.min()",
        "test_leak.py::test_the_exponent_of_a_level_is_the_hottest_direction",
    ),
    "a batch that grows with eta and not with its square": (
        "stability.py",
        "new = rate**2 * (lifted",
        "new = rate * (lifted",
        "test_stability.py::test_one_direction_in_closed_form[root0]",
        "test_stability.py::test_it_is_where_the_second_moment_neither_grows_nor_shrinks[3]",
    ),
    "a curvature of the outputs in the place of its root": (
        "stability.py",
        "root = np.sqrt(np.maximum(values, 0))",
        "root = np.maximum(values, 0)",
        "test_stability.py::test_rows_make_the_curvature_of_the_outputs",
    ),
    "a cloud that shrinks where it should widen": (
        "flattening.py",
        "turned - ratio * torch.expm1(-step * pair)",
        "turned + ratio * torch.expm1(-step * pair)",
        "test_flattening.py::test_a_cloud_in_a_bowl_widens_as_it_must",
        "test_flattening.py::test_a_cloud_at_rest_pulls_as_the_first_flow_does",
    ),
    "factors of the flattest copy turned over": (
        "flatness.py",
        "found = theta * np.exp(np.log(factors) @ exponents)",
        "found = theta / np.exp(np.log(factors) @ exponents)",
        "test_flatness.py::test_one_hidden_layer_in_closed_form",
    ),
    "half of the pull towards the flattest copy": (
        "flatness.py",
        "-2 * np.clip(log_scale @ exponents[:, matters], -300, 300)",
        "-1 * np.clip(log_scale @ exponents[:, matters], -300, 300)",
        "test_flatness.py::test_one_hidden_layer_in_closed_form",
    ),
    "numbers of the next block of iterations": (
        "_blocks.py",
        "block = iteration // self.length",
        "block = iteration // self.length + 1",
        "test_modules.py::test_replicas_are_plain_training_loops_one_by_one[mlp]",
    ),
}

WITNESS = """
from pathlib import Path

import ddt_utils


def test_the_copy_is_what_is_tested():
    assert Path(ddt_utils.__file__).parent.parent == Path(__file__).resolve().parent.parent
"""


@pytest.fixture(scope="module")
def pytests():
    """Where pytest is run, so that torch is imported once and not for every mistake."""
    server = Pytests()
    yield server
    server.close()


def outcomes(pytests, folder, mistake=None):
    """Copy package and tests, make a mistake, run the named tests; what pytest says, its failures.

    Returns:
        Its exit status, what it printed, the names asked for, those that passed, and what those
        that failed said.
    """
    folder = folder.resolve()
    for part in ("ddt_utils", "tests"):
        shutil.copytree(
            ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "vendor")
        )
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "tests" / "test_witness.py").write_text(WITNESS, encoding="utf-8")
    environment = {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    if mistake:
        file, right, wrong, *names = MISTAKES[mistake]
        path = folder / "ddt_utils" / file
        path.write_text(mutated(path.read_text(encoding="utf-8"), right, wrong), encoding="utf-8")
        if file.startswith("simulate/"):  # a generated step that nobody wants again
            environment["DDT_UTILS_CACHE"] = str(folder / "cache")
    else:
        names = dict.fromkeys(name for _, _, _, *several in MISTAKES.values() for name in several)
    options = ["-q", "-p", "no:cacheprovider", "--junitxml=r.xml"]
    which = [f"tests/{name}" for name in ["test_witness.py", *names]]
    code, said = pytests.run(folder, environment, options + which)
    assert (folder / "r.xml").is_file(), said
    failed, passed = {}, set()
    for case in ElementTree.parse(folder / "r.xml").iter("testcase"):
        name = f"{case.get('classname').removeprefix('tests.')}.py::{case.get('name')}"
        assert case.find("error") is None and case.find("skipped") is None, said
        failure = case.find("failure")
        if failure is None:
            passed.add(name)
        else:
            failed[name] = failure.get("message")
    return code, said, set(names), passed, failed


def test_without_a_mistake_the_named_tests_pass(pytests, tmp_path):
    code, said, names, passed, failed = outcomes(pytests, tmp_path)
    assert code == 0 and not failed, said
    assert passed == names | {"test_witness.py::test_the_copy_is_what_is_tested"}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_package_is_noticed(mistake, pytests, tmp_path):
    code, said, names, passed, failed = outcomes(pytests, tmp_path, mistake)
    assert passed == {"test_witness.py::test_the_copy_is_what_is_tested"}, said
    assert set(failed) == names and code == 1, said
    for message in failed.values():  # not because the changed code no longer runs
        assert message.startswith(("assert", "AssertionError")), said

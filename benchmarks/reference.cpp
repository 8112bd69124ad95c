// The bar: what a hand-written program does with the same layout as the package's compiled step.
//
// LANES walkers side by side, xoshiro128+ (Blackman and Vigna, 2018) in every lane, Box and Muller
// with polynomial logarithm, sine and cosine, an inspection every CHUNK steps that gives the lane
// of an absorbed walker to the next one. Four problems written by hand; whatever the compiler's
// flags allow, contraction and reassociation included, is allowed here. Compiled by engine.py.
//
// With -DGUARDED and without -ffast-math it promises what the package promises: the order of the
// operations is kept, a walker beyond BOUND has diverged, and the exponential holds everywhere.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#ifndef LANES
#define LANES 64
#endif
#ifdef __AVX512F__
constexpr int BYTES = 64;
#else
constexpr int BYTES = 32;
#endif
constexpr int WIDTH = BYTES / 4, GROUPS = LANES / WIDTH, W = LANES, CHUNK = 32;
typedef float Float __attribute__((vector_size(BYTES)));
typedef int32_t Int __attribute__((vector_size(BYTES)));
typedef uint32_t Word __attribute__((vector_size(BYTES)));
#ifdef GUARDED
constexpr bool GUARD = true;
#else
constexpr bool GUARD = false;
#endif
constexpr float BOUND = 1e4f;  // of the squared distance from the origin
#define INLINE inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

static INLINE Float real(Int i) { return __builtin_convertvector(i, Float); }

static INLINE Float sqrt_(Float a) {
  Float r;
  for (int i = 0; i < WIDTH; i++) r[i] = std::sqrt(a[i]);
  return r;
}

// minimax polynomials; their errors are below 2e-7 (logarithm, exponential) and 3e-8 (cosine, sine)
static INLINE Float log_(Float a) {
  Int i = (Int)a, e = (i - 0x3F3504F3) >> 23;
  Float f = (Float)(i - (e << 23)) - 1.0f;
  Float p = -0.103785835f * f + 0.163380931f;
  p = p * f - 0.172124462f;
  p = p * f + 0.198842427f;
  p = p * f - 0.249715593f;
  p = p * f + 0.333356077f;
  p = p * f - 0.500003443f;
  p = p * f + 0.999999918f;
  return real(e) * 0.69314718056f + p * f;
}

#ifdef GUARDED
static INLINE Float exp_(Float a) {
  a = 88.0f < a ? Float{} + 88.0f : a;
  a = -87.0f > a ? Float{} - 87.0f : a;
  Float whole = a * 1.44269504f + 12582912.0f;  // its last digits are those of a whole number
  Float f = a * 1.92596299e-8f + (a * 1.44269504f - (whole - 12582912.0f));
  Float p = 0.000153458075f * f + 0.00133999312f;
  p = p * f + 0.00961848897f;
  p = p * f + 0.0555032878f;
  p = p * f + 0.240226469f;
  p = p * f + 0.693147206f;
  p = p * f + 1.0f;
  return p * (Float)(((Int)whole << 23) + 0x3F800000);
}
#else
static INLINE Float exp_(Float a) {
  Float t = a * 1.44269504089f;
  t = t < -126.0f ? Float{} - 126.0f : t;
  // the usual rounding by adding and subtracting 1.5 · 2^23 would be simplified away here
  Int k = __builtin_convertvector(t + 126.5f, Int) - 126;
  Float f = t - real(k);
  Float p = 0.00132764668f * f + 0.00967554129f;
  p = p * f + 0.0555071329f;
  p = p * f + 0.240221197f;
  p = p * f + 0.693146967f;
  p = p * f + 1.00000007f;
  return (Float)((Int)p + (k << 23));
}
#endif

struct Stream { Word a, b, c, d; };

static INLINE Word draw(Stream &s) {
  Word r = s.a + s.d, t = s.b << 9;
  s.c ^= s.a;
  s.d ^= s.b;
  s.b ^= s.c;
  s.a ^= s.d;
  s.c ^= t;
  s.d = (s.d << 11) | (s.d >> 21);
  return r;
}

static INLINE void normals(Stream &s, Float &z0, Float &z1) {
  Word u = draw(s), w = draw(s);
  Float uniform = real((Int)(u >> 8)) * 0x1p-24f + 0x1p-25f;
  Float r = sqrt_(-2.0f * log_(uniform));
  Float g = real((Int)(w << 2)) * 0x1p-32f;  // within half a quarter turn
  Float h = g * g;
  Float sine = -0.00459228963f * h + 0.0796759032f;
  sine = sine * h - 0.645962938f;
  sine = (sine * h + 1.57079631f) * g;
  Float cosine = -0.0204084158f * h + 0.253598672f;
  cosine = cosine * h - 1.23369702f;
  cosine = cosine * h + 0.999999973f;
  // the two highest bits choose one of the directions +x, +y, -x, -y around which the angle lies
  r = (Float)((Int)r | (Int)(w & 0x80000000u));
  Int turned = (Int)(w << 1) < 0;
  z0 = r * (turned ? sine : cosine);
  z1 = r * (turned ? cosine : sine);
}

struct Quartic {
  static constexpr int n = 1;
  static constexpr float start[1] = {-1.0f};
  static INLINE void step(const Float *x, const Float *z, Float *y) {
    constexpr float dt = 0.005f;
    const float size = 0.0353553391f;  // sqrt(2 dt / 8)
    y[0] = x[0] * (1.0f + dt - dt * x[0] * x[0]) + size * z[0];
  }
  static INLINE Int out(const Float *y) { return y[0] > 1.0f; }
};

struct Multiplicative {
  static constexpr int n = 1;
  static constexpr float start[1] = {-1.0f};
  static INLINE void step(const Float *x, const Float *z, Float *y) {
    constexpr float dt = 0.005f, twice = 2.0f * 0.08f * dt;
    Float square = x[0] * x[0];
    y[0] = x[0] * (1.0f + dt - dt * square) + sqrt_(twice + twice * square) * z[0];
  }
  static INLINE Int out(const Float *y) { return y[0] > 1.0f; }
};

struct MuellerBrown {
  static constexpr int n = 2;
  static constexpr float start[2] = {-0.558f, 1.442f};
  static INLINE void step(const Float *x, const Float *z, Float *y) {
    constexpr float dt = 0.001f;
    const float size = 0.0282842712f;  // sqrt(2 · 0.4 dt)
    Float u = x[0] - 1.0f, u2 = x[0] + 0.5f, u3 = x[0] + 1.0f;
    Float v = x[1], v1 = v - 0.5f, v2 = v - 1.5f, v3 = v - 1.0f;
    Float e0 = -2.0f * exp_(-u * u - 10.0f * v * v);
    Float e1 = -exp_(-x[0] * x[0] - 10.0f * v1 * v1);
    Float e2 = -1.7f * exp_(-6.5f * u2 * u2 + 11.0f * u2 * v2 - 6.5f * v2 * v2);
    Float e3 = 0.15f * exp_(0.7f * u3 * u3 + 0.6f * u3 * v3 + 0.7f * v3 * v3);
    Float gx = -2.0f * u * e0 - 2.0f * x[0] * e1 + (11.0f * v2 - 13.0f * u2) * e2 +
               (1.4f * u3 + 0.6f * v3) * e3;
    Float gy = -20.0f * v * e0 - 20.0f * v1 * e1 + (11.0f * u2 - 13.0f * v2) * e2 +
               (1.4f * v3 + 0.6f * u3) * e3;
    y[0] = x[0] - dt * gx + size * z[0];
    y[1] = x[1] - dt * gy + size * z[1];
  }
  static INLINE Int out(const Float *y) { return y[1] < 0.25f; }
};

struct StyblinskiTang {
  static constexpr int n = 10;
  static constexpr float start[10] = {2.7468f, 2.7468f, 2.7468f, 2.7468f, 2.7468f,
                                      2.7468f, 2.7468f, 2.7468f, 2.7468f, 2.7468f};
  static INLINE void step(const Float *x, const Float *z, Float *y) {
    constexpr float dt = 0.001f;
    const float size = 0.109544512f;  // sqrt(2 · 6 dt)
    UNROLL
    for (int i = 0; i < n; i++)
      y[i] = x[i] * (1.0f + 16.0f * dt - 2.0f * dt * x[i] * x[i]) - 2.5f * dt + size * z[i];
  }
  static INLINE Int out(const Float *y) {
    Float least = y[0];
    UNROLL
    for (int i = 1; i < n; i++) least = y[i] < least ? y[i] : least;
    return least < 0.0f;
  }
};

static uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

template <class P> struct Lanes {
  static constexpr int n = P::n, steps = n % 2 ? 2 : 1;  // an odd dimension: one pair, two steps
  Stream stream[GROUPS];
  Float x[GROUPS][n], when[GROUPS];

  template <class T> static INLINE T squared(const T *y) {
    T sum = y[0] * y[0];
    UNROLL for (int i = 1; i < n; i++) sum = y[i] * y[i] + sum;
    return sum;
  }

  template <bool absorbing> static INLINE void step(Float *here, const Float *z, float tick,
                                                    Float &left) {
    Float next[n];
    P::step(here, z, next);
    if constexpr (absorbing) {
      Int alive = left == float(CHUNK), done = P::out(next);
      if constexpr (GUARD) done |= ~(squared(next) < BOUND);
      left = (alive & done) ? Float{} + tick : left;
      UNROLL for (int i = 0; i < n; i++) here[i] = alive ? next[i] : here[i];
    } else {
      UNROLL for (int i = 0; i < n; i++) here[i] = next[i];
    }
  }

  template <bool absorbing> INLINE void advance(int tick) {
    for (int g = 0; g < GROUPS; g++) {
      Stream s = stream[g];
      Float z[n * steps], here[n], left = when[g];
      UNROLL for (int i = 0; i < n * steps; i += 2) normals(s, z[i], z[i + 1]);
      UNROLL for (int i = 0; i < n; i++) here[i] = x[g][i];
      step<absorbing>(here, z, float(tick), left);
      if constexpr (steps == 2) step<absorbing>(here, z + 1, float(tick + 1), left);
      UNROLL for (int i = 0; i < n; i++) x[g][i] = here[i];
      if (absorbing) when[g] = left;
      stream[g] = s;
    }
  }

  void enter(int l, uint64_t seed, int64_t walker) {
    int g = l / WIDTH, k = l % WIDTH;
    uint64_t key = mix(mix(seed + 1) ^ mix(~walker)), p = mix(key + 3), q = mix(key + 7);
    stream[g].a[k] = uint32_t(p);
    stream[g].b[k] = uint32_t(p >> 32);
    stream[g].c[k] = uint32_t(q);
    stream[g].d[k] = uint32_t(q >> 32) | 1u;
    for (int i = 0; i < n; i++) x[g][i][k] = P::start[i];
    when[g][k] = CHUNK;
  }

  void passage(uint64_t seed, int64_t first, int64_t last, int64_t *times, float *states) {
    int64_t walker[W], begun[W] = {}, now = 0;
    int working = 0;
    for (int l = 0; l < W; l++) {
      walker[l] = first < last ? first++ : -1;
      enter(l, seed, walker[l]);
      working += walker[l] >= 0;
    }
    for (; working; now += CHUNK) {
      for (int tick = 0; tick < CHUNK; tick += steps) advance<true>(tick);
      Float earliest = when[0];
      for (int g = 1; g < GROUPS; g++) earliest = when[g] < earliest ? when[g] : earliest;
      float first_out = CHUNK;
      for (int k = 0; k < WIDTH; k++) first_out = earliest[k] < first_out ? earliest[k] : first_out;
      if (first_out == CHUNK) continue;
      for (int l = 0; l < W; l++) {
        int g = l / WIDTH, k = l % WIDTH;
        if (when[g][k] == CHUNK) continue;
        if (walker[l] >= 0) {
          int64_t &time = times[walker[l]] = now - begun[l] + int64_t(when[g][k]) + 1;
          float *state = states + walker[l] * n;
          for (int i = 0; i < n; i++) state[i] = x[g][i][k];
          if (GUARD && !(squared(state) < BOUND)) time = -time;  // diverged
          walker[l] = first < last ? first++ : -1;
          working -= walker[l] < 0;
        }
        begun[l] = now + CHUNK;
        enter(l, seed, walker[l]);
      }
    }
  }

  void free(uint64_t seed, int64_t first, int64_t last, int64_t count, float *states) {
    for (; first < last; first += W) {
      for (int l = 0; l < W; l++) enter(l, seed, first + l);
      for (int64_t t = 0; t < count; t += steps) advance<false>(0);
      for (int l = 0; l < W && first + l < last; l++)
        for (int i = 0; i < n; i++) states[(first + l) * n + i] = x[l / WIDTH][i][l % WIDTH];
    }
  }
};

template <class P>
static void shared(uint64_t seed, int64_t walkers, int threads, int64_t count, int64_t *times,
                   float *states) {
  std::vector<std::thread> team;
  for (int k = 0; k < threads; k++)
    team.emplace_back([=] {
      int64_t first = walkers * k / threads, last = walkers * (k + 1) / threads;
      Lanes<P> lanes;
      if (count)
        lanes.free(seed, first, last, count, states);
      else
        lanes.passage(seed, first, last, times, states);
    });
  for (auto &member : team) member.join();
}

// count = 0: follow every walker to its exit; otherwise so many steps without absorption
extern "C" void run(int problem, uint64_t seed, int64_t walkers, int threads, int64_t count,
                    int64_t *times, float *states) {
  switch (problem) {
    case 0: return shared<Quartic>(seed, walkers, threads, count, times, states);
    case 1: return shared<Multiplicative>(seed, walkers, threads, count, times, states);
    case 2: return shared<MuellerBrown>(seed, walkers, threads, count, times, states);
    case 3: return shared<StyblinskiTang>(seed, walkers, threads, count, times, states);
  }
}

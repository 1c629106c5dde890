#!/usr/bin/env python3
"""run.py: measure kist and its peers, turn and turn about, and compare.

Each workload is run by every system before the next workload begins, and all of that `--rounds` times, so that a change of the
machine's pace hits all. Figures are medians of the rounds; the spread is least to most. Every program checks its own data
and exits 1 on the first thing that is wrong: that figure is then missing, said so, and this exits 1 too.

Writes OUT/bench.json (workload, system, unit, median, spread, ratio = kist's median / this median) and OUT/bench.svg. Prints a
table and the bars of the project. A bar that is missed is printed as MISSED; the exit code stays 0, as machines differ.
"""
import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time

SYSTEMS = ['bare', 'kist', 'kist-aes', 'kist-pread', 'lmdb', 'rocksdb', 'rocksdb-bloom', 'sqlite', 'sqlcipher', 'wiredtiger']
EXTRA = 'extra'  # what only kist is asked; its figures are reported as kist's
PATIENCE = 20  # seconds: at most so long for a device that is slower than usual just now
ONCE_ABOVE = 10  # seconds: a load that takes longer is not repeated in later rounds

# What must hold: (system, workload, at least this factor, of system, workload) …
RATIO_BARS = [
    ('kist', 'single', 0.85, 'bare', 'append-zeroed'),
    ('kist', 'single', 0.85, 'bare', 'append-growing'),
    ('kist', 'single', 2.3, 'lmdb', 'single'),
    ('kist', 'single', 1.3, 'rocksdb', 'single'),
    ('kist', 'batch16', 1.5, 'rocksdb', 'batch16'),
    ('kist', 'batch64', 1.8, 'rocksdb', 'batch64'),
    ('kist', 'batch800', 2.3, 'rocksdb', 'batch800'),
    ('kist', 'load', 2.0, 'rocksdb', 'load'),
    ('kist', 'load', 2.0, 'wiredtiger', 'load'),
    ('kist', 'threads16', 2.0, 'rocksdb', 'threads16'),
    ('kist', 'threads64', 2.5, 'rocksdb', 'threads64'),
    ('kist', 'procs8', 1.5, 'kist', 'single'),
    ('kist', 'get', 2.4, 'sqlcipher', 'get'),
    ('kist', 'get', 4.0, 'rocksdb', 'get'),
    ('kist', 'get', 0.65, 'lmdb', 'get'),
    ('kist-aes', 'scan', 0.8, 'sqlcipher', 'scan'),
    ('kist', 'put4k', 0.6, 'bare', 'device4k'),
    ('kist', 'put4k', 0.6, 'bare', 'put4k'),
    ('kist', 'put1m', 0.6, 'bare', 'device1m'),
    ('kist', 'put1m', 0.6, 'bare', 'put1m'),
    ('kist', 'get4k', 0.6, 'bare', 'get4k'),
    ('kist', 'get1m', 0.6, 'bare', 'get1m'),
    ('kist-aes', 'get4k', 0.6, 'bare', 'aes4k'),
    ('kist-aes', 'get1m', 0.6, 'bare', 'aes1m'),
]
# What nobody can beat, shown beside the figure as bare's: the workloads that have to be done one after the other. A value is
# sealed whole before its first byte can be written (the library's cipher is one call).
LIMITS = {
    'put4k': ['device4k', 'seal-xchacha4k'],
    'put1m': ['device1m', 'seal-xchacha1m'],
    'get4k': ['xchacha4k'],
    'get1m': ['xchacha1m'],
}
# … (system, workload, at most this factor, of system, workload) …
COST_BARS = [('kist', 'process', 3.0, 'bare', 'true')]
# … and absolute ones: (system, workload, '>=' or '<=', value).
PLAIN_BARS = [
    ('kist', 'beside', '>=', 0.9),
    ('kist', 'scan', '>=', 1.0e6),
    ('kist', 'index-bytes', '<=', 105),
    ('kist', 'open-snapshot', '<=', 500),
    ('kist', 'open-replay', '<=', 1800),
    ('kist', 'tiny', '<=', 0.25),
    ('kist', 'pair-persisted', '<=', 0.4),
    ('kist', 'pair-memory', '<=', 3),
]


class Run:
    def __init__(self, options):
        self.o = options
        self.samples = {}  # (workload, system): [value, …]
        self.units = {}
        self.workloads = []  # in the order in which they were first seen
        self.slow = set()  # systems whose load is not repeated
        self.info = []
        self.paces = []  # what the device has shown, appends a second
        self.waited = 0.0
        self.programs = self.find()

    def find(self):
        found = {}
        for system in SYSTEMS + [EXTRA]:
            wanted = not self.o.systems or system in self.o.systems or (system == EXTRA and 'kist' in self.o.systems)
            for folder in (self.o.bin, os.path.join(self.o.bin, 'bench')):
                path = os.path.join(folder, 'bench_' + system)
                if wanted and os.access(path, os.X_OK):
                    found[system] = path
            if wanted and system not in found:
                print(f'bench: no program for {system} in {self.o.bin}: left out', file=sys.stderr)
        return found

    def plan(self):
        """[(workload, [(system, needs a loaded store), …]), …], loads before what reads them."""
        rows = {}
        for system, program in self.programs.items():
            said = subprocess.run([program, 'info'], check=True, capture_output=True, text=True).stdout
            if said.strip():
                self.info.append(json.loads(said))
            listed = subprocess.run([program, 'list'], check=True, capture_output=True, text=True).stdout
            for line in listed.splitlines():
                workload, kind = line.split()
                rows.setdefault(workload, []).append((system, kind == 'loaded'))
        if self.o.only:
            unknown = set(self.o.only) - set(rows)
            if unknown:
                sys.exit(f'bench: no such workload: {", ".join(sorted(unknown))}; there are: {", ".join(rows)}')
            loaded = any(rows[w][0][1] for w in self.o.only)
            readers = {'kist' if s == EXTRA else s for w in self.o.only for s, needs in rows[w] if needs}
            if loaded and 'load' not in self.o.only:
                rows['load'] = [row for row in rows['load'] if row[0] in readers]
            rows = {w: s for w, s in rows.items() if w in self.o.only or (loaded and w == 'load')}
        # fresh ones first, then load, then what reads: the page cache is then full of what is read
        rank = lambda item: 1 if item[0] == 'load' else 2 if item[1][0][1] else 0
        return sorted(rows.items(), key=rank)

    def once(self, workload, system, loaded, round_number):
        home = os.path.join(self.o.dir, 'kist' if system == EXTRA and loaded else system)
        keep = loaded or workload == 'load'
        folder = os.path.join(home, 'loaded' if keep else 'fresh')
        if workload == 'load' and round_number > 0 and (system in self.slow or self.loads_once()):
            return
        if not loaded:
            shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder, exist_ok=True)
        if not loaded or workload == 'beside':
            self.wait_for_device()
        command = [self.programs[system], workload, folder, '--keys', str(self.o.keys), '--seconds', str(self.o.seconds)]
        start = time.monotonic()
        environment = dict(os.environ, KIST_BENCH_PROGRAM=os.path.abspath(os.path.join(self.o.bin, 'kist')))
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
        if done.returncode != 0:
            print(f'bench: FAILED ({done.returncode}): {" ".join(command)}', file=sys.stderr)
            self.failed.append(f'{workload}/{system}')
            return
        for line in done.stdout.splitlines():
            self.take(json.loads(line))
        if workload == 'load' and time.monotonic() - start > ONCE_ABOVE:
            self.slow.add(system)
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)

    def probe(self):
        """Durable appends a second, of a 50 ms trial."""
        folder = os.path.join(self.o.dir, 'pace')
        os.makedirs(folder, exist_ok=True)
        command = [self.programs['bare'], 'pace', folder, '--seconds', '0.05']
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)['value']

    def wait_for_device(self):
        """Machines are shared: a neighbour that takes the cores makes each sync wait for a slice of the scheduler (seen: 150 instead
        of 8,000 syncs a second), and a disk that has used up its burst is slow for a while. That would hit one system and
        spare the next. So nothing durable is begun while a probe is under 0.4 of the median of the probes so far; what happens
        during a run counts. The seconds waited are reported."""
        if 'bare' not in self.programs:
            return
        if not self.paces:
            self.paces = [self.probe() for _ in range(5)]
        start = time.monotonic()
        pace = self.probe()
        while pace < 0.4 * statistics.median(self.paces) and time.monotonic() - start < self.o.patience:
            time.sleep(0.5)
            pace = self.probe()
        self.paces.append(pace)
        self.waited += time.monotonic() - start

    def loads_once(self):
        """Is the load only there for what reads it?"""
        return bool(self.o.only) and 'load' not in self.o.only

    def take(self, result):
        key = (result['workload'], result['system'])
        self.samples.setdefault(key, []).append(result['value'])
        self.units[result['workload']] = result['unit']
        if result['workload'] not in self.workloads:
            self.workloads.append(result['workload'])

    def measure(self):
        self.failed = []
        plan = self.plan()
        try:
            for round_number in range(self.o.rounds):
                for workload, systems in plan:
                    for system, loaded in systems:
                        if f'{workload}/{system}' not in self.failed and f'load/{system}' not in self.failed:
                            self.once(workload, system, loaded, round_number)
                    print(f'bench: round {round_number + 1} of {self.o.rounds}: {workload}', file=sys.stderr)
        finally:
            shutil.rmtree(self.o.dir, ignore_errors=True)

    def median(self, workload, system):
        values = self.samples.get((workload, system))
        return statistics.median(values) if values else None

    def limits(self):
        for workload, parts in LIMITS.items():
            rates = [self.median(part, 'bare') for part in parts]
            if workload in self.workloads and all(rates):
                self.samples[(workload, 'bare')] = [1 / sum(1 / rate for rate in rates)]

    def rows(self):
        out = []
        for workload in self.workloads:
            ours = self.median(workload, 'kist')
            for system in SYSTEMS:
                values = self.samples.get((workload, system))
                if not values:
                    continue
                middle = statistics.median(values)
                out.append({'workload': workload, 'system': system, 'unit': self.units[workload], 'median': middle,
                            'spread': [min(values), max(values)], 'rounds': len(values),
                            'ratio': ours / middle if ours and middle else None})
        return out

    def bars(self):
        out = []
        for kind, bars in (('>=', RATIO_BARS), ('<=', COST_BARS)):
            for system, workload, factor, peer, theirs in bars:
                ours, base = self.median(workload, system), self.median(theirs, peer)
                if ours and base:
                    of = peer if theirs == workload else f'{peer} {theirs}'
                    out.append(self.bar(f'{system} {workload} / {of}', ours / base, kind, factor))
        for system, workload, kind, limit in PLAIN_BARS:
            ours = self.median(workload, system)
            if ours is not None:
                out.append(self.bar(f'{system} {workload} ({self.units[workload]})', ours, kind, limit))
        return out

    @staticmethod
    def bar(name, value, kind, limit):
        met = value >= limit if kind == '>=' else value <= limit
        return {'bar': name, 'value': value, 'wanted': f'{kind} {limit:g}', 'met': met}


def short(value):
    """Four figures, with k and M."""
    for limit, sign in ((1e6, 'M'), (1e4, 'k')):
        if value >= limit:
            return f'{value / (1e6 if sign == "M" else 1e3):.4g} {sign}'
    return f'{value:.4g}'


def table(run, rows):
    systems = [s for s in SYSTEMS if any(r['system'] == s for r in rows)]
    cells = {(r['workload'], r['system']): r for r in rows}
    lines = [['workload', 'unit'] + systems]
    for workload in run.workloads:
        line = [workload, run.units[workload]]
        for system in systems:
            r = cells.get((workload, system))
            text = ''
            if r:
                text = short(r['median'])
                if r['rounds'] > 1 and r['median']:
                    half = (r['spread'][1] - r['spread'][0]) / 2 / r['median'] * 100
                    text += f' ±{half:.0f}%'
                if r['ratio'] and not system.startswith('kist'):
                    text += f' ({r["ratio"]:.2f}×)'
            line.append(text)
        lines.append(line)
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    lines.insert(1, ['-' * w for w in widths])
    for line in lines:
        print('| ' + ' | '.join(cell.ljust(w) for cell, w in zip(line, widths)) + ' |')
    print('\n± half of the spread of the rounds; (n×) kist is n times that system')


def machine():
    model = ''
    with open('/proc/cpuinfo', encoding='utf-8') as f:
        for line in f:
            if line.startswith('model name'):
                model = line.split(':', 1)[1].strip()
    return {'cpu': model, 'cores': os.cpu_count(), 'kernel': platform.release(), 'load': os.getloadavg(),
            'time': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}


PLOT = """set terminal svg size 1200,{height} font "sans,11" background "white"
set output "{out}"
set datafile separator "\\t"
set multiplot layout {lines},3
set style fill solid 0.8
set boxwidth 0.7
unset key
set yrange [0:*]
set xtics rotate by 30 right nomirror
set bmargin 4
set grid y
"""
# One panel a workload; our own bars in another colour.
PANEL = """set title "{workload} ({unit})"
set format y "{format}"
plot "{data}" index {index} using 0:2:3:xtic(1) with boxes linecolor rgb variable, \\
     "" index {index} using 0:2:4:5 with yerrorbars linecolor rgb "black" pointtype 0
"""


def plot(run, rows, out):
    if not shutil.which('gnuplot'):
        print('bench: no gnuplot: no plot', file=sys.stderr)
        return
    data = os.path.join(out, 'bench.dat')
    shown = [w for w in run.workloads if len([r for r in rows if r['workload'] == w]) > 1]
    if not shown:
        return
    height = -(-len(shown) // 3)
    script = PLOT.format(height=height * 260, out=os.path.join(out, 'bench.svg'), lines=height)
    with open(data, 'w', encoding='utf-8') as f:
        for index, workload in enumerate(shown):
            for r in rows:
                if r['workload'] == workload:
                    colour = 0xB8442C if r['system'].startswith('kist') else 0x5A7A9A
                    f.write(f'{r["system"]}\t{r["median"]}\t{colour}\t{r["spread"][0]}\t{r["spread"][1]}\n')
            f.write('\n\n')
            script += PANEL.format(workload=workload, unit=run.units[workload], data=data, index=index,
                                   format='%g' if run.units[workload] in ('ratio', 'ms', 'us') else '%.1s%c')
    subprocess.run(['gnuplot'], input=script, text=True, check=True)
    os.unlink(data)


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    words = lambda text: text.split(',')
    p.add_argument('--bin', default='build-bench', help='where the programs are')
    p.add_argument('--out', default='build', help='where bench.json and bench.svg go')
    p.add_argument('--dir', help='where the stores go: a real disk (default: BIN/data)')
    p.add_argument('--quick', action='store_true', help='20,000 keys, one round of 0.2 s: proves the harness, not a figure')
    p.add_argument('--only', type=words, default=[], metavar='WORKLOAD,…')
    p.add_argument('--systems', type=words, default=[], metavar='SYSTEM,…')
    p.add_argument('--rounds', type=int)
    p.add_argument('--seconds', type=float, help='at most so long a workload (2)')
    o = p.parse_args()
    o.keys = int(os.environ.get('BENCH_N', 20000 if o.quick else 1000000))
    o.rounds = o.rounds or (1 if o.quick else 3)
    o.seconds = o.seconds or (0.2 if o.quick else 2)
    o.patience = 1 if o.quick else PATIENCE
    o.dir = o.dir or os.path.join(o.bin, 'data')
    unknown = set(o.systems) - set(SYSTEMS)
    if unknown:
        p.error(f'no such system: {", ".join(sorted(unknown))}; there are: {", ".join(SYSTEMS)}')
    return o


def on_real_disk(folder):
    kind = subprocess.run(['stat', '-f', '-c', '%T', folder], capture_output=True, text=True).stdout.strip()
    if kind in ('tmpfs', 'ramfs'):
        print(f'bench: {folder} is on {kind}: "durable" means nothing there', file=sys.stderr)


def main():
    o = arguments()
    os.makedirs(o.out, exist_ok=True)
    os.makedirs(o.dir, exist_ok=True)
    on_real_disk(o.dir)
    if os.getloadavg()[0] > 0.5:
        print(f'bench: load average {os.getloadavg()[0]:.1f} before the start: the figures will be poor', file=sys.stderr)
    run = Run(o)
    before = machine()
    run.measure()
    run.limits()
    rows, bars = run.rows(), run.bars()
    pace = statistics.median(run.paces) if run.paces else 0
    with open(os.path.join(o.out, 'bench.json'), 'w', encoding='utf-8') as f:
        json.dump({'machine': before, 'keys': o.keys, 'rounds': o.rounds, 'seconds': o.seconds, 'systems': run.info,
                   'device_pace': pace, 'waited_for_device': run.waited,
                   'results': rows, 'bars': bars, 'failed': run.failed}, f, indent=1)
        f.write('\n')
    if rows:
        table(run, rows)
        plot(run, rows, o.out)
    print(f'waited {run.waited:.0f} s for the device; its usual pace: {short(pace)} appends/s\n')
    for bar in bars:
        print(f'{"met   " if bar["met"] else "MISSED"} {bar["bar"]}: {short(bar["value"])}, wanted {bar["wanted"]}')
    for what in run.failed:
        print(f'FAILED {what}')
    sys.exit(1 if run.failed else 0)


main()

"""Run chapters in full, one after the other, store their outputs, and say what moved.

    python tools/full.py [NAME ...]     # file names without ending, modules, numbers; default: all

Chapters run in the order of the tables in `nbs/index.ipynb`, the ground first, and last the index.
A chapter that fails keeps the outputs that it had, and the others go on; a run may have taken an
hour, so the cells below a failed assertion run too, and all that came out lies beside the notebook
in a hidden one. A run that is cut off, or fails, goes on where it was (`resumed`). Cells that are
marked `gpu` keep their outputs where there is no graphics card.
What moved is said output by output: the first line that differs, as it was and as it is; and which
cells took long.
"""
import argparse, itertools, json, os, re, shutil, subprocess, sys, time
from chapters import cells, listed, named, nbs, repo
from resumed import folder_of, forget
from stored import picture_of

code = '''import sys, torch
from execnb.shell import CaptureShell
from nbdev.test import test_nb
sys.path.append(sys.argv[2])
import resumed, stored
from pathlib import Path
next_cell = resumed.keep(Path(sys.argv[3]), resumed.marks(Path(sys.argv[1])))
all_cells = CaptureShell.run_all
def run_all(self, nb, exc_stop=True, preproc=None, **kw):
    "All cells, but none below one that failed otherwise than by an assertion"
    def left_out(c):
        next_cell(c)
        return bool(broken) or preproc(c)
    def look(c):
        if self.exc and not isinstance(self.exc, AssertionError): broken.append(c)
    broken = []
    all_cells(self, nb, exc_stop=False, preproc=left_out, **{**kw, 'postproc': look})
CaptureShell.run_all = run_all
stored.in_notebooks()
torch.manual_seed(0)
left_out = ['notest'] if torch.cuda.is_available() else ['notest', 'gpu']
ok,_ = test_nb(sys.argv[1], skip_flags=left_out, force_flags=['slow'], save=True,
    cell_timeout=24*3600)
sys.exit(not ok)'''

def without_stderr(nb):
    "Leave out warnings, which name paths of this machine and are not shown"
    d = json.loads(nb.read_text(encoding='utf-8'))
    for c in d['cells']:
        if c['cell_type']!='code': continue
        c['outputs'] = [o for o in c['outputs'] if o.get('name')!='stderr']
    text = json.dumps(d, sort_keys=True, indent=1, ensure_ascii=False)+'\n'
    nb.write_text(text, encoding='utf-8')

def order():
    "Names of the chapters: the ground, then as the index has them, then the index"
    names = sorted((n for _,n in listed()), key=lambda n: n[0]!='0')
    return [*sorted({p.stem for p in nbs.glob('[0-9]*.ipynb')}-set(names)), *names, 'index']

def chosen(wanted, names):
    "The chapters that these words name, in order; ends with a word on the first that names none"
    res = set()
    for w in wanted:
        if not (found := named(w)):
            sys.exit(f'{w}: there is no such chapter; there are {", ".join(names)}')
        res |= set(found)
    return [n for n in names if n in res]

def shown(cell):
    "What a cell shows: a list of texts, and of pictures"
    res = []
    for o in cell.get('outputs', []):
        data = o.get('data', {})
        if o.get('name')=='stderr': continue
        if found := picture_of(o): res.append(('picture', found))
        elif 'text/html' in data and '_anim_img' in ''.join(data['text/html']):
            res.append(('picture', ''.join(data['text/html'])))
        else: res.append(('text', ''.join(o.get('text') or data.get('text/plain', ''))))
    return res

def moved(before, after):
    "Lines that say which outputs differ; where objects are in memory is not compared"
    plain = lambda s: re.sub(r'0x[0-9a-f]+', '', s)
    old = {c.get('id', i): shown(c) for i,c in enumerate(before)}
    ids,gone = {c.get('id', i) for i,c in enumerate(after)},[i for i,s in old.items() if s]
    res = [f'  a cell with outputs is gone: {i}' for i in gone if i not in ids]
    for i,c in enumerate(after):
        if c['cell_type']!='code': continue
        a,b = old.get(c.get('id', i), []),shown(c)
        if len(a)!=len(b):
            res.append(f'  cell {i}: {len(a)} outputs before, {len(b)} now')
            continue
        for (was,x),(now,y) in zip(a, b):
            if x==y: continue
            if 'picture' in (was, now): res.append(f'  cell {i}: the picture'); continue
            if plain(x)==plain(y): continue
            pairs = itertools.zip_longest(plain(x).split('\n'), plain(y).split('\n'), fillvalue='')
            u,v = next((u, v) for u,v in pairs if u!=v)
            at = f'  cell {i}: '
            res += [f'{at}was {u.strip()[:100]}', f'{" "*len(at)} is {v.strip()[:100]}']
    return res

def wrong(cells):
    "Lines on the cells that failed: which, where and how"
    return [f'  cell {i}, {c.get("id", "")}: '+'\n    '.join([o['ename'],
        *(l.strip() for l in str(o['evalue']).splitlines()[:3])])
        for i,c in enumerate(cells) for o in c.get('outputs', []) if o['output_type']=='error']

def slowest(cells):
    "A line on the cells that took more than a minute"
    took = {c.get('id', i): c['metadata'].get('execution', {}).get('total', 0)
        for i,c in enumerate(cells)}
    long = [f'{i} {t:,.0f} s' for i,t in sorted(took.items(), key=lambda v: -v[1]) if t > 60]
    return [f'  long cells: {", ".join(long)}'] if long else []

def main():
    p = argparse.ArgumentParser(description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('names', nargs='*')
    names = order()
    todo,failed = chosen(p.parse_args().names, names) or names,[]
    for n in todo:
        nb,t = nbs/f'{n}.ipynb',time.time()
        tmp = nb.with_name(f'.{n}.full.ipynb')
        shutil.copy(nb, tmp)
        try:
            rc = subprocess.run([sys.executable, '-c', code, str(tmp), str(repo/'tools'),
                str(folder_of(nb))], cwd=nb.parent,
                env={**os.environ, 'MPLBACKEND': 'agg'}).returncode
            before,after = cells(nb),cells(tmp)
            bad = wrong(after) or (['  it did not run'] if rc else [])
            if not rc: without_stderr(tmp)
            if not bad:
                tmp.replace(nb)
                forget(nb)
            elif not rc: tmp.replace(kept := nb.with_name(f'.{n}.failed.full.ipynb'))
        finally: tmp.unlink(missing_ok=True)
        if bad:
            failed.append(n)
            print(f'{n}: FAILED', *bad, *([] if rc else [f'  what came out: {kept}']), sep='\n',
                flush=True)
            continue
        lines = moved(before, after)
        print(f'{n}: {time.time()-t:,.0f} s, {"nothing moved" if not lines else "moved:"}',
            *lines, *slowest(after), sep='\n', flush=True)
    sys.exit(f'failed: {", ".join(failed)}' if failed else 0)

if __name__=='__main__': main()

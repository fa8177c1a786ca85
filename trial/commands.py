"""Commands into a folder whose disk is full lose nothing that could be kept

    python -m trial.commands --n 4

`forget`, `audit` and `recycle` write to a disk on which there is no room, room for nearly all, or
enough. A command must end with a sentence that names the path, before its work or after it; what it
computed is printed all the same; no run is left half-written, and a run that was there is what it
was. A training goes on from its last checkpoint when there is room, to the same loss. A trained
network that cannot be kept is used. Needs the right to mount a disk. Prints counts as JSON; exits
with 1 on a failure.
"""
import argparse, contextlib, io, json, os, tempfile, warnings
from forgetprune import audit_command
from forgetprune.cli import main as command
from forgetprune.data import get_dls
from forgetprune.networks import save_model
from forgetprune.runs import read_run
from forgetprune.training import get_learner, train
from trial.common import contents, count, end, fill, no_mount, small_disk

mb = 2**20
disk = 24*mb

def called(*args):
    "Exit code of a command in this process, what it printed, and what it said of errors"
    with contextlib.redirect_stdout(io.StringIO()) as out, \
            contextlib.redirect_stderr(io.StringIO()) as err, warnings.catch_warnings():
        warnings.simplefilter('always')
        try: command([*map(str, args)])
        except SystemExit as e: code = e.code or 0
    return code, out.getvalue(), err.getvalue()

def rooms(n, most):
    "Bytes that are left: none, and then in steps up to more than is needed"
    return [round(i*most/(n-1)) for i in range(n)]

def said(code, out, err, folder):
    "What is wrong with how a command ended"
    last = err.strip().splitlines()[-1] if err.strip() else ''
    if 'Traceback' in err: return f'wrong: {err[-400:]}'
    if code==2 and last.startswith('forgetprune: ') and 'No space left on device' in last and str(
            folder) in last: return None
    return f'wrong: ended with {code}: {last}'

def after(d, before, code, out, err):
    "What came of a command that had this much room, in a folder that was so before"
    there = contents(d) if d.exists() else {}
    if code==0:
        read_run(d)
        return 'written'
    if wrong := said(code, out, err, d): return wrong
    if 'cannot write there' in err: return 'refused before the work' if there==before else \
        f'wrong: left {sorted(set(there)^set(before))}'
    if there!=before: return f'wrong: left {sorted(set(there)^set(before))}'
    try: json.loads(out)
    except ValueError: return f'wrong: the result is not printed: {out[-200:]!r}'
    return 'the result printed, then said; the folder is what it was'

def before_after(counts, what, d, at, room, *args):
    "One command, while so much room is left on the disk of `d`"
    before = contents(at) if at.exists() else {}
    filling = fill(d, room)
    code,out,err = called(*args)
    filling.unlink()
    count(counts, what, after(at, before, code, out, err))

def forget(counts, home, d, n):
    how = 'forget','--data','digits','--k',300,'--path',home,'--json','--out'
    for i,room in enumerate(rooms(n, 8*mb)):
        before_after(counts, 'forget', d, d/f'a{i}'/'b', room, *how, d/f'a{i}'/'b', '--target', 7)
        if (d/f'a{i}').exists(): (d/f'a{i}').rename(d/'whole')
        if (d/'whole').exists(): clear(d/'whole')
    assert called(*how, d/'old', '--target', 3)[0]==0
    for room in rooms(n, 8*mb): before_after(counts, 'forget --force', d, d/'old', room, *how,
        d/'old', '--target', 7, '--force')

def clear(folder):
    for f in sorted(folder.rglob('*'), reverse=True): f.rmdir() if f.is_dir() else f.unlink()
    folder.rmdir()

def audit(counts, home, d, n):
    arch = dict(name='mlp', sizes=[64, 60, 40, 10])
    learn = get_learner(get_dls('digits', device='cpu'), arch)
    with learn.no_bar(), learn.no_logging(): train(learn, home)
    save_model(learn.model, f'{home}/net', arch=arch)
    assert called('forget', '--data', 'digits', '--model', f'{home}/net', '--k', 30, '--json',
        '--out', d/'run', '--target', 7)[0]==0
    how = ('audit', d/'run', '--epochs', 5, '--lr', 0.01, '--repeats', 1, '--goal', 0.5, '--json')
    before_after(counts, 'audit', d, d/'run', 0, *how)
    for room in rooms(3, 2*mb):
        kept = contents(d/'run')
        with full_afterwards(d, room): before_after(counts, 'audit', d, d/'run', disk, *how)
        for name in set(contents(d/'run'))-set(kept): (d/'run'/name).unlink()
        for name,b in kept.items(): (d/'run'/name).write_bytes(b) # without its audit

@contextlib.contextmanager
def full_afterwards(d, room):
    "A disk that is filled by others while an audit is computed"
    audited = audit_command.audited
    def slow(*args, **kw):
        found = audited(*args, **kw)
        fill(d, room)
        return found
    audit_command.audited = slow
    try: yield
    finally: audit_command.audited = audited

def recycle(counts, d, n):
    "A training of forty steps, with a checkpoint after every tenth"
    how = ['recycle', '--data', d/'text', '--steps', 40, '--save-every', 10, '--every', 10,
        '--json', '--out']
    (d/'text').write_text('the quick brown fox\njumps over the lazy dog\n'*40)
    whole = json.loads(called(*how, d/'out')[1])
    clear(d/'out')
    for room in rooms(2*n, 8*mb):
        filling = fill(d, room)
        code,out,err = called(*how, d/'out')
        filling.unlink()
        count(counts, 'recycle', resumed(d/'out', code, out, err, whole, how))
        if (d/'out').exists(): clear(d/'out')

def resumed(at, code, out, err, whole, how):
    "What came of a training, when there is room again"
    if code and (wrong := said(code, out, err, at)): return wrong
    if code and (at/'result.json').exists(): return 'wrong: half-written'
    if code and any(p.name.startswith('.') for p in at.glob('*')): return 'wrong: something is left'
    if code and 'cannot write there' in err: return 'refused before the work'
    kept = 'go on with --resume' in err
    again = called(*how, at, '--resume') if code else (0, out, err)
    if again[0] or json.loads(again[1])!=whole: return f'wrong: resumed: {again[2]}'
    read_run(at)
    if not code: return 'written'
    if kept!=('Goes on from step' in again[2]): return f'wrong: {err} {again[2]}'
    return f'said; {"gone on from a checkpoint" if kept else "begun anew"} to the same result'

def models(counts, home, d, n):
    "The disk on which trained networks are kept is full, or has room"
    for i,room in enumerate(rooms(min(n, 4), 8*mb)):
        (d/f'p{i}').mkdir()
        filling = fill(d, room)
        code,out,err = called('forget', '--data', 'digits', '--k', 300, '--path', d/f'p{i}',
            '--json', '--target', 7)
        filling.unlink()
        kept,left = [*d.rglob('*.safetensors')],[*d.rglob('.*')]
        came = 'kept and used' if kept else 'warned, and used'
        if code or json.loads(out)['target']!=7 or left: came = f'wrong: {code} {err} {left}'
        if not kept and 'could not be kept there (No space left' not in err: came = f'wrong: {err}'
        count(counts, 'a trained network', came)
        clear(d/f'p{i}')

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--n', type=int, default=4, help='amounts of room for each command')
    n,counts = p.parse_args().n,{}
    os.environ['OMP_NUM_THREADS'] = '1'
    with tempfile.TemporaryDirectory() as home:
        for trial in (forget, audit, models, recycle):
            with small_disk(disk//1024) as d:
                if d is None: end({'commands on a full disk': {no_mount: n}})
                if trial is recycle: trial(counts, d, n)
                else: trial(counts, home, d, n)
    end(counts)

if __name__=='__main__': main()

"The trials: what is stored says no failure, and is what the page shows"
import json, subprocess, sys
from pathlib import Path
import pytest
import tried
from trial.__main__ import names, told
from trial.common import at_change, count, failed, in_child, kill

repo = Path(__file__).resolve().parents[1]
stored = json.loads(tried.results.read_text(encoding='utf-8'))['trials']

def test_what_is_stored_is_of_these_trials_and_none_failed():
    there = {f.stem for f in (repo/'trial').glob('[a-z]*.py')}-{'common'}
    assert there==set(names) and [t['name'] for t in stored]==list(names)
    for t in stored:
        assert {k: t[k] for k in ('name', 'title', 'more')}==told(t['name'])
        assert t['counts'] and not failed(t['counts']), t['name']

def test_the_page_shows_what_is_stored(tmp_path, monkeypatch):
    page = tried.page().replace('`', '')
    for t in stored:
        for what,came in t['counts'].items():
            assert what in page
            for c,n in came.items(): assert f'| {n:,} |' in page and c.replace('<', '&lt;') in page
    assert 'none went wrong' in page
    bad = json.loads(tried.results.read_text(encoding='utf-8'))
    bad['trials'][0]['counts'] = {'cuts': {'refused': 1200, 'wrong: believed | so': 2}}
    (tmp_path/'r.json').write_text(json.dumps(bad))
    monkeypatch.setattr(tried, 'results', tmp_path/'r.json')
    page = tried.page()
    assert '2 went wrong' in page and '|  | **wrong: believed \\| so** | 2 |' in page

def test_a_process_dies_at_the_change_that_is_asked_for(tmp_path):
    def child(n):
        at_change(tmp_path, n, kill)
        for i in range(3): (tmp_path/f'{n}{i}').write_text('x')
    for n in (1, 2, 3): assert in_child(lambda n=n: child(n))==-9
    assert in_child(lambda: child(4))==0
    assert {f.name for f in tmp_path.iterdir()}=={'20', '30', '31', '40', '41', '42'}

def test_counts():
    counts = {}
    for came in ('refused', 'refused', 'written'): count(counts, 'cuts', came)
    assert counts=={'cuts': dict(refused=2, written=1)} and not failed(counts)
    count(counts, 'nets', 'wrong: believed')
    assert failed(counts)

@pytest.mark.slow
def test_one_command_for_some_of_them(tmp_path):
    def run(*args): return subprocess.run([sys.executable, '-m', 'trial', *args], cwd=repo,
        capture_output=True, text=True)
    r = run('disk', '--out', tmp_path/'r.json')
    assert r.returncode==0, r.stderr
    kept = json.loads((tmp_path/'r.json').read_text())['trials']
    assert json.loads(r.stdout)=={t['name']: t['counts'] for t in kept} and len(kept)==1
    r = run('dsik')
    assert r.returncode==2 and 'dsik is unknown; there are files' in r.stderr

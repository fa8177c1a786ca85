"The page *What was tried*, of the counts that `make trial` stored in `trial/results.json`"
import json, re
from pathlib import Path

results = Path(__file__).resolve().parents[1]/'trial/results.json'

def _tries(trials, begins=''):
    "How often something was tried, of what came of it so"
    return sum(n for t in trials for came in t['counts'].values() for c,n in came.items()
        if c.startswith(begins))

def _cell(text):
    text = text.replace('|', '\\|').replace('<', '&lt;').replace('\n', ' ')
    return re.sub(r'--[\w-]+', lambda m: f'`{m[0]}`', text)

def _rows(t):
    "What was tried, what came of it, and how often"
    for what,came in t['counts'].items():
        for i,(c,n) in enumerate(came.items()):
            said = f'**{_cell(c)}**' if c.startswith('wrong') else _cell(c)
            yield f'| {"" if i else _cell(what)} | {said} | {n:,} |'

def _section(t):
    return '\n'.join([f'## {t["title"]}', '', f'{t["more"]} `python -m trial.{t["name"]}`', '',
        '| tried | what came of it | times |', '|:---|:---|---:|', *_rows(t)])

def page():
    "Markdown"
    r = json.loads(results.read_text(encoding='utf-8'))
    trials,w = r['trials'],r['where']
    wrong,left_out = _tries(trials, 'wrong'),_tries(trials, 'left out')
    none = f'{wrong:,} went wrong, in bold below' if wrong else 'none went wrong'
    out = f' {left_out:,} were left out: this user may not mount a disk.' if left_out else ''
    return f'''# What was tried

A process is killed, a disk is full, a bit flips, two people give the same command. Each trial makes
such things happen many times and counts what came of them. Of {_tries(trials)-left_out:,} tries
{none}.{out} A try goes *wrong* if what is there is mixed from two runs, if a changed file is
believed, if something is lost that was computed and could be kept, if a dead process leaves what
the next one trusts or nobody removes, or if a command ends with a traceback instead of a sentence.
A changed file *says the same* where what is read from it is what was written.

`make trial` repeats them all, `make trial ARGS="runs disk"` some of them; they are no part of
`make test`, which has one or two cases of each kind. These counts are of Python {w["python"]} and
PyTorch {w["torch"]} on {w["system"]}.

'''+'\n\n'.join(map(_section, trials))+'\n'

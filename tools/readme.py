"""README.md from nbs/index.ipynb: text as it is, code fenced, output indented, pictures as files.

    python tools/readme.py [FOLDER] # writes README.md and README_files/ there, or here
"""
import json, re, sys
from pathlib import Path
from stored import picture_of

repo = Path(__file__).resolve().parents[1]

def readme(nb:dict):
    "Markdown text, and the pictures it shows as a dict of path to bytes"
    parts,pictures = ['<!-- Made from nbs/index.ipynb by `make lib`: edit that. -->'],{}
    for cell in nb['cells']:
        src = ''.join(cell['source'])
        if cell['cell_type']=='markdown': parts.append(re.sub(r'\]\((\d\d\w*\.ipynb)\)',
            r'](nbs/\1)', src).replace('](../', ']('))
        else:
            alt = ' '.join(re.findall(r'^#\|\s*fig-alt: (.*)', src, re.M))
            code = '\n'.join(l for l in src.split('\n') if not l.startswith('#|'))
            parts.append(f'```python\n{code}\n```')
            for o in cell['outputs']:
                data = o.get('data', {})
                if found := picture_of(o):
                    ending,picture = found
                    pictures[name := f'README_files/{len(pictures)}.{ending}'] = picture
                    parts.append(f'![{alt or "Figure"}]({name})')
                else:
                    text = ''.join(o.get('text') or data.get('text/plain', '')).rstrip()
                    if text: parts.append('\n'.join('    '+l for l in text.splitlines()))
    return '\n\n'.join(parts)+'\n', pictures

if __name__ == '__main__':
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else repo
    text,pictures = readme(json.loads((repo/'nbs/index.ipynb').read_text(encoding='utf-8')))
    (out/'README.md').write_text(text, encoding='utf-8')
    for old in {*(out/'README_files').glob('*')}-{out/name for name in pictures}: old.unlink()
    for name,picture in pictures.items():
        (out/name).parent.mkdir(exist_ok=True)
        (out/name).write_bytes(picture)

// A light reading of Markdown while an answer streams; the server's own takes its place.

const item = /^\s*(?:[-*]|\d+[.)])\s+/;

/** Makes elements of the text; never markup out of it. */
export function draft(text) {
  return text.trim().split(/\n{2,}/).map((block) => {
    const lines = block.split('\n');
    if (!lines.every((line) => item.test(line))) return fill(/^#+\s/.test(block) ? 'h3' : 'p', block.replace(/^#+\s/, ''));
    const list = document.createElement(/^\s*\d/.test(block) ? 'ol' : 'ul');
    list.append(...lines.map((line) => fill('li', line.replace(item, ''))));
    return list;
  });
}

function fill(name, text) {
  const element = document.createElement(name);
  for (const piece of text.split(/(\*\*[^*\n]+\*\*|`[^`\n]+`|\[\d+\])/)) {
    const [, bold, code, number] = /^(?:\*\*(.+)\*\*|`(.+)`|\[(\d+)\])$/.exec(piece) ?? [];
    if (!(bold ?? code ?? number)) { element.append(piece); continue; }
    const inner = document.createElement(bold ? 'strong' : code ? 'code' : 'span');
    inner.textContent = bold ?? code ?? number;
    if (number) inner.className = 'cite';
    element.append(inner);
  }
  return element;
}

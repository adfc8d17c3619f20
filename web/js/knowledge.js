// The knowledge base: files dropped anywhere, progress, a search that answers as one types, a question before deletion.
import { $, notice, page, reason, renew } from './kit.js';

const form = $('#upload'), search = $('#search'), drop = $('#drop');

form?.addEventListener('change', () => {
  send([...form.elements.file.files]);
  form.reset();
});

if (drop) {
  const files = (event) => event.dataTransfer?.types.includes('Files');
  addEventListener('dragover', (event) => {
    if (!files(event)) return;
    event.preventDefault();
    drop.hidden = false;
  });
  addEventListener('dragleave', (event) => { drop.hidden ||= !event.relatedTarget; });
  addEventListener('drop', (event) => {
    if (!files(event)) return;
    event.preventDefault();
    drop.hidden = true;
    send([...event.dataTransfer.files]);
  });
}

/** One file after the other, so that each has its own progress and its own outcome. */
async function send(files) {
  for (const file of files) {
    const row = $('#uploading').content.firstElementChild.cloneNode(true);
    $('span', row).textContent = file.name;
    $('#uploads').append(row);
    const refusal = await put(file, $('progress', row));
    if (refusal) row.replaceWith(notice(`Not added: ${refusal}`));
    else row.remove();
    await refresh();
  }
}

function put(file, progress) {
  return new Promise((done) => {
    const request = new XMLHttpRequest(), body = new FormData(form);
    body.set('file', file);
    request.upload.onprogress = ({ loaded, total }) => { progress.value = loaded / total; };
    request.onerror = () => done(`${file.name}. The server could not be reached`);
    request.onload = () => {
      const { error, files = [] } = request.response ?? {};
      const refused = request.status > 299 ? error : files.find((file) => file.error)?.error;
      done(refused && reason(refused));
    };
    request.responseType = 'json';
    request.open('POST', '/api/knowledge/documents');
    request.setRequestHeader('x-csrf-token', $('meta[name=csrf-token]').content);
    request.send(body);
  });
}

async function refresh() {
  try {
    renew(await page(location.href), '#count', '#state', '#documents');
  } catch { /* the next round tries again */ }
}

setInterval(() => { if (!document.hidden && $('#documents').dataset.busy === 'true') refresh(); }, 1000);

let typing, asked;
search?.addEventListener('input', () => {
  clearTimeout(typing);
  typing = setTimeout(async () => {
    asked?.abort();
    asked = new AbortController();
    const url = `/knowledge?${new URLSearchParams(new FormData(search))}`;
    try {
      renew(await page(url, asked.signal), '#results');
      history.replaceState(null, '', url);
    } catch (error) {
      if (error.name !== 'AbortError') $('#results').replaceChildren(notice(error.message));
    }
  }, 140);
});

addEventListener('click', (event) => {
  const link = event.target.closest('[data-delete]'), dialog = $('#confirm');
  if (!link || !dialog) return;
  event.preventDefault();
  for (const slot of dialog.querySelectorAll('[data-slot]')) slot.textContent = link.dataset[slot.dataset.slot];
  $('form', dialog).action = `/knowledge/${link.dataset.delete}/delete`;
  dialog.showModal();
});

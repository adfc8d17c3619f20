// The knowledge base: files dropped anywhere, a search as one types.
import { $, call, notice, page, renew } from './kit.js';

const form = $('#upload'), search = $('#search'), drop = $('#drop');

form?.addEventListener('change', () => {
  send([...form.file.files].map((file) => [file, file.name]));
  form.reset();
});

if (drop) {
  const hide = (event, hidden) => {
    if (!event.dataTransfer?.types.includes('Files')) return false;
    event.preventDefault();
    drop.hidden = hidden;
    return true;
  };
  addEventListener('dragover', (event) => hide(event, false));
  addEventListener('dragleave', (event) => { drop.hidden ||= !event.relatedTarget; });
  addEventListener('drop', async (event) => {
    if (hide(event, true)) send((await Promise.all([...event.dataTransfer.items].map((item) => walk(item.webkitGetAsEntry(), '')))).flat());
  });
}

/** A folder's files with their names. */
async function walk(entry, above) {
  const name = above + entry?.name, all = [];
  if (!entry?.isDirectory) return entry ? [[await new Promise((done) => entry.file(done)), name]] : [];
  const reader = entry.createReader();
  for (let some; (some = await new Promise((done) => reader.readEntries(done))).length;) all.push(...some);
  return (await Promise.all(all.map((each) => walk(each, `${name}/`)))).flat();
}

/** One file after the other, each with its own outcome. */
async function send(files) {
  for (const [file, name] of files) {
    const row = $('#uploading').content.firstElementChild.cloneNode(true);
    $('span', row).textContent = name;
    $('#uploads').append(row);
    await put(file, name, $('progress', row)).then(() => row.remove(), (error) => row.replaceWith(notice(`Not added: ${error.message}`)));
    await refresh();
  }
}

/** Sends a file in pieces, and goes on where it broke off. */
async function put(file, name, progress) {
  const into = form.collection?.value ?? '', key = [name, file.size, file.lastModified, into].join(), coded = (text) => btoa(unescape(encodeURIComponent(text)));
  const tus = async (method, headers, body) => (await call(url ?? '/api/uploads', { method, body, headers })).headers;
  const offset = (headers) => { progress.value = (at = +headers.get('upload-offset')) / (file.size || 1); };
  let url = localStorage[key], at = 0, tries = 0;
  if (url) await tus('HEAD').then(offset, () => { url = null; });
  url ??= localStorage[key] = (await tus('POST', { 'upload-length': file.size, 'upload-metadata': `filename ${coded(name)},collection ${coded(into)}` })).get('location');
  do {
    try {
      offset(await tus('PATCH', { 'upload-offset': at, 'content-type': 'application/offset+octet-stream' }, file.slice(at, at + 2 ** 18)));
      tries = 0;
    } catch (error) {
      if ((error.status < 500 && error.status !== 409) || ++tries > 6) throw error;
      await new Promise((done) => setTimeout(done, 2 ** tries * 200));
      await tus('HEAD').then(offset, () => {});
    }
  } while (at < file.size);
  delete localStorage[key];
}

async function refresh() {
  try {
    renew(await page($('#documents').dataset.list ?? location.href), '#count', '#state', '#documents');
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
      renew(await page(url, asked.signal), '#results', '#documents');
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

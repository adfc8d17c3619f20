// A meeting that goes on: what is said fills the columns.
import { $, page, renew } from './kit.js';

const said = {}, source = new EventSource(`/api/boardroom/${$('#meeting').dataset.id}/events`);
let again;

source.addEventListener('said', ({ data }) => {
  const { round, agent, from, text } = JSON.parse(data), key = `${round}-${agent}`;
  said[key] = [...(said[key] ?? '')].slice(0, from).join('') + text;
  show() || fresh();
});
source.addEventListener('contributed', fresh);
source.addEventListener('ended', fresh);

function show() {
  const columns = document.querySelectorAll('[data-said]');
  for (const column of columns) column.textContent = said[column.dataset.said] ?? column.textContent;
  return columns.length;
}

function fresh() {
  again ??= setTimeout(async () => {
    again = null;
    renew(await page(location.href).catch(() => document), '#meeting');
    show();
    if (!('running' in $('#meeting').dataset)) source.close();
  }, 250);
}

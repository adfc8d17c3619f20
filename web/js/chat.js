// The conversation: a question, the answer as it comes, the passage behind a mark.
import { $, call, notice, page, reason, renew } from './kit.js';
import { draft } from './draft.js';

const form = $('#composer'), box = $('#question'), turns = $('#turns'), said = $('#said');
const [send, stop] = form.querySelectorAll('.send');
const picker = $('#agent');
const kept = `draft:${location.pathname}`;
let running = null;

box.value ||= sessionStorage.getItem(kept) ?? '';
box.addEventListener('input', () => sessionStorage.setItem(kept, box.value));
box.addEventListener('keydown', (event) => {
  const newline = event.shiftKey || (matchMedia('(pointer: coarse)').matches && !event.ctrlKey && !event.metaKey);
  if (event.key !== 'Enter' || event.isComposing || newline) return;
  event.preventDefault();
  form.requestSubmit();
});
picker.addEventListener('change', () => wear($('.box .avatar')));
if (turns.children.length) toEnd();

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const question = box.value.trim();
  if (running || !question) return;
  const parts = [...$('#pending').content.cloneNode(true).children], [asked, answer] = parts;
  $('[data-slot]', asked).textContent = question;
  const name = wear($('.avatar', answer), answer);
  answer.ariaLabel = $('.by', answer).textContent = name;
  $('.welcome')?.remove();
  for (const part of document.querySelectorAll('.talk-head [hidden], #sources')) part.hidden = false;
  turns.append(...parts);
  box.value = '';
  sessionStorage.removeItem(kept);
  const body = JSON.stringify({ question, agent: picker.value, conversation: form.elements.conversation?.value });
  const headers = { accept: 'text/event-stream', 'content-type': 'application/json' };
  attend({ parts, answer, question }, '/api/chat', { method: 'POST', headers, body });
});

/** Shows a run as it tells of itself. */
async function attend(shown, path, request) {
  const { answer } = shown;
  running = { ...shown, text: '', spoken: 0, abort: new AbortController() };
  said.textContent = `${$('.by', answer).firstChild.data} is answering`;
  send.hidden = !(stop.hidden = false);
  toEnd();
  try {
    const response = await call(path, { ...request, signal: running.abort.signal });
    for await (const item of events(response.body)) await on[item.type]?.(item);
    if (!running.over) throw Error('The connection broke. The answer goes on: open the conversation again.');
  } catch (error) {
    if (error.name === 'AbortError') await settle().catch(() => {});
    else if (request) fail(error.message);
    else setTimeout(() => location.reload(), 3000);
  }
  $('.caret', answer)?.classList.remove('caret');
  $('.working', answer)?.remove();
  running = null;
  stop.hidden = !(send.hidden = false);
}

stop.addEventListener('click', () => {
  const { run, abort } = running ?? {};
  if (run) call(`/api/chat/runs/${run}/cancel`, { method: 'POST' }).catch(() => {});
  setTimeout(() => abort?.abort(), 2000);
});

/** What to do with each event of a run. */
const on = {
  started({ run, conversation }) {
    running.run = run;
    if (form.elements.conversation) return;
    form.insertAdjacentHTML('beforeend', '<input type="hidden" name="conversation">');
    form.elements.conversation.value = conversation;
    history.replaceState(null, '', `/chat/${conversation}`);
  },
  loading: ({ model }) => work(`loading ${model}`),
  thinking: () => work('thinking'),
  tool_started: ({ name }) => work(name.replace('.', ' ')),
  tool_finished: ({ name, summary }) => work(`${name.replace('.', ' ')} · ${summary}`),
  retrieved: ({ sources }) => work(`found ${sources.length} passages`),
  text({ text }) {
    running.text += text;
    running.frame ??= requestAnimationFrame(show);
  },
  approval_needed: ({ tool }) => work(`asks leave for ${tool}`),
  waiting: over,
  finished: over,
  async failed(error) {
    running.over = true;
    box.value ||= running.question;
    await settle().catch(() => fail(reason(error)));
  },
};

function over() {
  running.over = true;
  return settle();
}

/** Shows the agent that is chosen. */
function wear(avatar, hued = avatar) {
  const { dataset: { mark, hue }, text } = picker.selectedOptions[0], use = $('use', avatar);
  use.setAttribute('href', use.getAttribute('href').replace(/#.*/, `#${mark}`));
  hued.setAttribute('class', `${hued === avatar ? 'avatar' : 'answer'} ${hue}`);
  return text.split(' · ')[0];
}

function work(text) {
  $('.working span', running.answer).textContent = text;
}

function show() {
  if (!running) return;
  const { answer, text, spoken } = running;
  running.frame = null;
  follow(() => {
    $('.prose', answer).replaceChildren(...draft(text));
    $('.working', answer).hidden = true;
  });
  const end = text.search(/[.!?:]\s+\S*$/) + 1;
  if (end <= spoken) return;
  said.textContent = text.slice(spoken, end);
  running.spoken = end;
}

/** Takes the finished turn, its passages and the conversations from the server's page. */
async function settle() {
  const { parts, text, spoken } = running;
  if (!form.elements.conversation) return;
  const fresh = await page(`/chat/${form.elements.conversation.value}`);
  const last = [...$('#turns', fresh).children].slice(-2);
  said.textContent = text.slice(spoken);
  follow(() => {
    parts.forEach((part, index) => part.replaceWith(last[index]));
    renew(fresh, '#conversations', '.talk-head', '#cited');
  });
  choose();
}

function fail(text) {
  follow(() => running.answer.append(notice(text)));
  if (!running.text) box.value ||= running.question;
}

/** Changes the page and stays at its end, unless one has scrolled away. */
function follow(change) {
  const { scrollHeight } = document.documentElement;
  const atEnd = innerHeight + scrollY > scrollHeight - 120;
  change();
  if (atEnd) toEnd();
}

function toEnd() {
  scrollTo(0, document.documentElement.scrollHeight);
}

/** The events of a text/event-stream, of which each is one line of JSON. */
async function* events(body) {
  let rest = '';
  for (const reader = body.pipeThrough(new TextDecoderStream()).getReader(); ;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split('\n');
    rest = lines.pop();
    for (const line of lines) if (line.startsWith('data:')) yield JSON.parse(line.slice(5));
  }
}

/** Shows the passages of one answer, the last one's unless told. */
function choose(turn) {
  const sections = [...document.querySelectorAll('#cited section')];
  const chosen = sections.find((section) => section.dataset.turn === turn) ?? sections.at(-1);
  for (const section of sections) section.hidden = section !== chosen;
  return chosen;
}

/** Lights a mark and its passage; a click opens the sheet. */
function light(event) {
  const mark = event.target.closest?.('.answer .cite[data-passage]');
  if (!mark || event.ctrlKey || event.metaKey) return;
  const source = $(`[data-passage="${mark.dataset.passage}"]`, choose(mark.closest('.answer').dataset.turn) ?? form);
  if (!source) return;
  for (const lit of document.querySelectorAll('.lit')) lit.classList.remove('lit');
  mark.classList.add('lit');
  source.classList.add('lit');
  if (event.type === 'click') {
    event.preventDefault();
    if (!source.checkVisibility()) $('#sources').showPopover();
  }
  source.scrollIntoView({ block: 'nearest' });
}

for (const type of ['pointerover', 'focusin', 'click']) addEventListener(type, light);
choose();
const open = $('.answer:has(.working)', turns);
if (open) attend({ parts: [open.previousElementSibling, open], answer: open }, `/api/chat/runs/${open.dataset.turn}/events`);

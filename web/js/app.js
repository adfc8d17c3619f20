// On every page: the theme, the keys, the bar that says that the server is out of reach.
import { $ } from './kit.js';

addEventListener('click', (event) => {
  const choice = event.target.closest('[name=theme]');
  if (!choice) return;
  event.preventDefault();
  document.cookie = `theme=${choice.value}; path=/; max-age=31536000; samesite=lax`;
  document.documentElement.dataset.theme = choice.value;
  for (const other of choice.form.elements) other.ariaPressed = String(other === choice);
});

addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest('input, textarea, select, [contenteditable]')) return;
  const target = event.key === '/' && $('[type=search], #question');
  if (target) target.focus();
  else if (event.key === '?') $('#keys')?.togglePopover();
  else return;
  event.preventDefault();
});

for (const type of ['online', 'offline']) addEventListener(type, () => { $('#offline').hidden = navigator.onLine; });

// How much of what may be written is written.
document.addEventListener('input', ({ target }) => {
  const count = target.parentElement.querySelector('[data-count]');
  if (count) count.textContent = `${[...target.value].length.toLocaleString('en')} of 20,000 characters`;
});

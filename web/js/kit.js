// What every page's script uses.

export const $ = (selector, root = document) => root.querySelector(selector);

/** Calls the server. Throws an Error that a person can read. */
export async function call(path, options = {}) {
  const headers = { accept: 'application/json', 'x-csrf-token': $('meta[name=csrf-token]').content, ...options.headers };
  const response = await fetch(path, { ...options, headers }).catch((error) => {
    throw error.name === 'AbortError' ? error : Error('The server cannot be reached. Nothing was lost; try again in a moment.');
  });
  if (!response.ok) throw Object.assign(Error(reason((await response.json().catch(() => ({}))).error)), { status: response.status });
  return response;
}

/** What an error of the API says to a person. */
export const reason = ({ message = 'The server could not do that', remedy } = {}) => [message, remedy].filter(Boolean).join('. ');

/** Fetches a page of ours, to take parts of it. */
export async function page(url, signal) {
  const response = await call(url, { signal, headers: { accept: 'text/html' } });
  return new DOMParser().parseFromString(await response.text(), 'text/html');
}

/** Puts the fresh page's elements in place where they differ, and leaves the focus. */
export function renew(fresh, ...selectors) {
  for (const selector of selectors) {
    const before = $(selector), after = $(selector, fresh), link = document.activeElement?.getAttribute('href');
    if (!before || !after || before.isEqualNode(after)) continue;
    const focused = before.contains(document.activeElement);
    before.replaceWith(after);
    if (focused && link) $(`[href="${link}"]`, after)?.focus();
  }
}

/** A notice made of the page's template. */
export function notice(text) {
  const element = $('#notice').content.firstElementChild.cloneNode(true);
  $('span', element).textContent = text;
  return element;
}

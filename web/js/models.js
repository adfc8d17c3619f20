// The operator's models: progress of what is being fetched.
import { $ } from './kit.js';

if ($('#pulls[data-busy=true]')) {
  const events = new EventSource('/operator/models/progress');
  events.addEventListener('pulls', ({ data }) => {
    for (const pull of JSON.parse(data).pulls) {
      const row = $(`#pull-${pull.id}`), bar = row && $('progress', row);
      if (bar && pull.running) {
        bar.value = pull.percent;
        $('.reason', row).textContent = pull.told;
      } else if (bar) {
        events.close();
        location.reload();
      }
    }
  });
}

/** Asks for a token. */
import { el, field } from './dom.js';

/** `enter` resolves to why the token is not good, or to undefined where it is. */
export function loginView(enter: (token: string) => Promise<string | undefined>, reason = ''): HTMLElement {
  const token = el('input', {
    type: 'password',
    name: 'token',
    required: true,
    autocomplete: 'current-password',
    spellcheck: false,
  });
  const problem = el('p', { className: 'failure', hidden: reason === '', attrs: { role: 'alert' } }, reason);
  const submit = el('button', { type: 'submit', className: 'main' }, 'Log in');
  const form = el(
    'form',
    { className: 'login' },
    el('h1', {}, 'Vitrine'),
    field('Token', token, 'vitrine serve token add NAME makes one. It is kept until this tab is closed.'),
    problem,
    submit,
  );
  form.onsubmit = (event) => {
    event.preventDefault();
    submit.disabled = true;
    problem.hidden = true;
    void enter(token.value.trim()).then((wrong) => {
      submit.disabled = false;
      if (wrong === undefined) return;
      problem.textContent = wrong;
      problem.hidden = false;
      token.select();
    });
  };
  queueMicrotask(() => token.focus());
  return el('main', {}, form);
}

/** Elements, each in one expression. What they say is always text: nothing here is read as HTML. */

export type Child = Node | string | undefined | false;

type Tags = HTMLElementTagNameMap;
type Properties<K extends keyof Tags> = Partial<Omit<Tags[K], 'style' | 'attributes' | 'children'>> & {
  /** Attributes that are no properties. */
  readonly attrs?: Readonly<Record<string, string>>;
};

export function el<K extends keyof Tags>(tag: K, properties: Properties<K> = {}, ...children: Child[]): Tags[K] {
  const { attrs = {}, ...rest } = properties;
  const element = document.createElement(tag);
  Object.assign(element, rest);
  for (const [name, value] of Object.entries(attrs)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== undefined && child !== false));
  return element;
}

const SVG = 'http://www.w3.org/2000/svg';

export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attrs: Readonly<Record<string, string>> = {},
  ...children: readonly SVGElement[]
): SVGElementTagNameMap[K] {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attrs)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A button for something that takes its time and may fail: it cannot be pressed again meanwhile. */
export function button(
  label: string,
  work: () => unknown,
  failed: (error: unknown) => void,
  className = '',
): HTMLButtonElement {
  const made = el('button', { type: 'button', className }, label);
  made.onclick = () => {
    const going = work();
    if (!(going instanceof Promise)) return;
    made.dataset['busy'] = '';
    settle(made);
    going.catch(failed).finally(() => {
      delete made.dataset['busy'];
      settle(made);
    });
  };
  return made;
}

const settle = (target: HTMLButtonElement): void => {
  target.disabled = target.dataset['busy'] !== undefined || target.dataset['off'] !== undefined;
};

/** Whether a button can be pressed, as soon as it is not at work. */
export function enable(target: HTMLButtonElement, enabled: boolean): void {
  if (enabled) delete target.dataset['off'];
  else target.dataset['off'] = '';
  settle(target);
}

/** A label with its control. */
export const field = (label: string, control: HTMLElement, note?: string): HTMLElement =>
  el(
    'label',
    { className: 'field' },
    el('span', {}, label),
    control,
    note !== undefined && el('small', { className: 'note' }, note),
  );

/** Asks for a yes; resolves to whether it came. */
export function confirmed(question: string, yes: string): Promise<boolean> {
  return new Promise((resolve) => {
    const dialog = el('dialog', { attrs: { 'aria-label': question } });
    const end = (): void => dialog.close();
    let sure = false;
    const accept = el('button', { type: 'button', className: 'danger' }, yes);
    accept.onclick = () => {
      sure = true;
      end();
    };
    const refuse = el('button', { type: 'button' }, 'Cancel');
    refuse.onclick = end;
    dialog.onclose = () => {
      dialog.remove();
      resolve(sure);
    };
    dialog.append(el('p', {}, question), el('div', { className: 'actions' }, accept, refuse));
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Asks for a line of text; resolves to it, or to undefined where there is none. */
export function prompted(title: string, label: string, yes: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const input = el('input', { name: 'answer', autocomplete: 'off', required: true });
    const refuse = el('button', { type: 'button' }, 'Cancel');
    const form = el(
      'form',
      { method: 'dialog' },
      field(label, input),
      el('div', { className: 'actions' }, el('button', { type: 'submit', className: 'main' }, yes), refuse),
    );
    const dialog = el('dialog', { attrs: { 'aria-label': title } }, form);
    let answer: string | undefined;
    form.onsubmit = () => (answer = input.value);
    refuse.onclick = () => dialog.close();
    dialog.onclose = () => {
      dialog.remove();
      resolve(answer);
    };
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** What a machine's owner has asked its worker, until the answers come. */
import { revive, type PortableError } from './portable-error.js';

const isError = (answer: object): answer is PortableError => 'message' in answer;

export class Questions<Answer extends object> {
  private readonly waiting = new Map<
    number,
    { readonly resolve: (answer: Answer) => void; readonly reject: (error: Error) => void }
  >();
  private nextId = 1;
  private end: Error | undefined;

  /** Why nothing can be asked any more. */
  get over(): Error | undefined {
    return this.end;
  }

  /** `post` sends the question with its number. */
  ask(post: (id: number) => void): Promise<Answer> {
    if (this.end) return Promise.reject(this.end);
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      post(id);
    });
  }

  /** What came for a question. */
  answered(id: number, answer: Answer | PortableError): void {
    const question = this.waiting.get(id);
    this.waiting.delete(id);
    if (isError(answer)) question?.reject(revive(answer));
    else question?.resolve(answer);
  }

  /** There will be no answers any more. */
  abandon(error: Error): void {
    this.end = error;
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
  }
}

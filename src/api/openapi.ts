/** The API's description by OpenAPI 3.1.1, made of the table of routes. */
import type { TSchema } from '@sinclair/typebox';
import { routes, type Route } from './routes.js';
import { ErrorAnswer } from './schemas.js';

interface JsonObject {
  readonly [key: string]: unknown;
}

const json = (schema: unknown): JsonObject => ({ 'application/json': { schema } });
const BINARY = { 'application/octet-stream': {} };

function answerOf({ answer }: Route): JsonObject | undefined {
  switch (answer) {
    case undefined:
      return undefined;
    case 'bytes':
      return BINARY;
    case 'png':
      return { 'image/png': {} };
    case 'text':
      return { 'text/plain': { schema: { type: 'string' } } };
    case 'any':
      return { ...json({}), ...BINARY };
    default:
      return json(answer);
  }
}

function parametersOf({ path, query }: Route): JsonObject[] {
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }));
  const { properties = {}, required = [] } = (query ?? {}) as {
    readonly properties?: Readonly<Record<string, TSchema>>;
    readonly required?: readonly string[];
  };
  const asked = Object.entries(properties).map(([name, { description, ...schema }]) => ({
    name,
    in: 'query',
    required: required.includes(name),
    ...(description !== undefined && { description }),
    schema,
  }));
  return [...names, ...asked];
}

function operation(id: string, route: Route): JsonObject {
  const { summary, messages, body, bodyOptional = false, status, webSocket = false } = route;
  const content = answerOf(route);
  const parameters = parametersOf(route);
  return {
    operationId: id,
    summary,
    ...(messages !== undefined && { description: messages }),
    ...(parameters.length > 0 && { parameters }),
    ...(body !== undefined && {
      requestBody: { required: !bodyOptional, content: body === 'bytes' ? BINARY : json(body) },
    }),
    responses: {
      [String(status)]: {
        description: webSocket ? 'The connection is a WebSocket now.' : 'Done.',
        ...(content && { content }),
      },
      default: { $ref: '#/components/responses/Error' },
    },
    ...(webSocket && { 'x-web-socket': true, security: [{ token: [] }, { ticket: [] }] }),
  };
}

/** Two routes of one path and method: OpenAPI knows no WebSockets, so the one that is one is described beside its like. */
export function openApi(version: string): JsonObject {
  const paths: Record<string, Record<string, JsonObject>> = {};
  for (const [id, route] of Object.entries(routes) as [string, Route][])
    (paths[route.path] ??= {})[route.method.toLowerCase()] = operation(id, route);
  return {
    openapi: '3.1.1',
    info: {
      title: 'Vitrine',
      version,
      summary: 'Virtual machines, made and used over HTTP',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    security: [{ token: [] }],
    paths,
    components: {
      responses: { Error: { description: 'It could not be done.', content: json(ErrorAnswer) } },
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer' },
        ticket: { type: 'apiKey', in: 'query', name: 'ticket', description: 'Of POST /v1/tickets, for one WebSocket.' },
      },
    },
  };
}

import { type DestinationStream, type Logger, pino, stdSerializers } from 'pino';

export type { Logger };

/**
 * The log of one server: JSON lines on stderr, so that stdout stays free for what the program says to its
 * user. Credentials are cut out wherever a request or an error is logged.
 */
export function createLog(level: 'silent' | 'info' = 'info', destination?: DestinationStream): Logger {
  return pino(
    {
      level,
      redact: ['req.headers.authorization', 'req.headers.cookie', 'req.headers["x-api-key"]'],
      serializers: {
        req: (request: { method: string; url: string }) => ({ method: request.method, url: withoutQuery(request.url) }),
        err: withoutDetail,
      },
    },
    destination ?? pino.destination({ dest: 2, sync: false }),
  );
}

/** Query strings carry filters on personal data and one-time codes. */
function withoutQuery(url: string): string {
  const end = url.indexOf('?');
  return end < 0 ? url : url.slice(0, end);
}

/** PostgreSQL's `detail` quotes the row at fault, be it a password. */
function withoutDetail(error: Error): Record<string, unknown> {
  const { detail, ...rest } = stdSerializers.err(error);
  return rest;
}

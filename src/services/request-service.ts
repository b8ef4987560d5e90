import type { ServerDuplexStream, ServiceDefinition } from '@grpc/grpc-js';
import { RequestServiceService, SurveyResponse } from '../../gen/ts/fedgate/messaging/v1/request_service.js';
import { toSummary } from '../link/request-answers.js';
import type { Access } from '../messaging/access.js';
import type { Policy } from '../policy/types.js';
import type { Dispatcher } from '../requests/dispatcher.js';
import { full } from '../requests/pending.js';
import type { Requester } from '../requests/requester.js';
import type { Answered, Said, SurveyEnd } from '../requests/types.js';
import type { CallContext, CallWrapper, Handlers } from '../transport/calls.js';
import type { FrameWriter } from '../transport/frame-writer.js';
import {
  encodeRequestResponse,
  encodeSurveyReply,
  readRequestRequest,
  readSurveyRequest,
} from '../wire/request-frames.js';
import { RespondSession } from './respond-session.js';

export interface RequestHost {
  readonly gateway: string;
  readonly requester: Requester;
  readonly dispatcher: Dispatcher;
  /** The own organisation. */
  readonly org: string;
  readonly access: Access;
  readonly policy: Policy;
  /** Fires when the gateway stops: what is out is answered, nothing new is taken. */
  readonly draining: AbortSignal;
}

/** Streams on which a node may answer at once. */
export const MAX_RESPOND_STREAMS_PER_NODE = 1_000;
/** Bytes of answers to a survey that wait for a caller that reads slowly. */
export const MAX_UNREAD_ANSWER_BYTES = 8 * 1024 * 1024;

const untouched = (bytes: Buffer): Buffer => bytes;
const asBytes = { requestDeserialize: untouched, responseSerialize: untouched };
const { request, respond, survey } = RequestServiceService;

/** The service with all frames left as bytes. */
export const requestDefinition: ServiceDefinition = {
  request: { ...request, ...asBytes },
  respond: { ...respond, ...asBytes },
  survey: { ...survey, ...asBytes },
} as ServiceDefinition;

type Context = CallContext<{ readonly name: string }>;

export function requestService(
  wrapper: CallWrapper<{ readonly name: string }>,
  host: RequestHost,
): Handlers<typeof RequestServiceService> {
  const streams = new Map<string, number>();
  return {
    request: wrapper.unary(async (bytes: Buffer, { caller, timeLeftMs, signal }: Context): Promise<Buffer> => {
      if (host.draining.aborted) throw host.draining.reason;
      const reply = await host.requester.request(caller.name, readRequestRequest(bytes), timeLeftMs(), signal);
      return encodeRequestResponse(reply, reply.record);
    }),
    respond: wrapper.bidi(
      async (call: ServerDuplexStream<Buffer, Buffer>, out: FrameWriter<Buffer>, context: Context) => {
        const { name } = context.caller;
        const open = streams.get(name) ?? 0;
        if (open >= MAX_RESPOND_STREAMS_PER_NODE)
          throw full('respond streams', `node ${name} answers on ${open} streams`);
        streams.set(name, open + 1);
        try {
          await new RespondSession(call, out, name, host, context.end).run(context.signal);
        } finally {
          const left = (streams.get(name) ?? 1) - 1;
          if (left > 0) streams.set(name, left);
          else streams.delete(name);
        }
      },
    ),
    survey: wrapper.serverStream(async (bytes: Buffer, out: FrameWriter<Buffer>, context: Context) => {
      if (host.draining.aborted) throw host.draining.reason;
      await runSurvey(bytes, out, context, host.requester);
    }),
  };
}

/** Resolves once the summary is written; rejects with what the call is to fail with. */
function runSurvey(bytes: Buffer, out: FrameWriter<Buffer>, context: Context, requester: Requester): Promise<void> {
  const { caller, timeLeftMs, signal } = context;
  return new Promise((resolve, reject) => {
    const answers = new AnswerQueue(out);
    let over = false;
    let giveUp: (() => void) | undefined;
    const fail = (error: unknown): void => {
      over = true;
      giveUp?.();
      reject(error);
    };
    const put = (frame: Buffer): void => {
      if (!over && !answers.put(frame)) fail(full('unread answers', 'the answers are not read'));
    };
    giveUp = requester.survey(caller.name, readSurveyRequest(bytes), timeLeftMs(), {
      answer: (answer, org) => put(answerFrame(answer, org)),
      end: end => {
        put(summaryFrame(end));
        answers.flushed(resolve);
      },
      fail,
    });
    if (over) giveUp();
    const gone = (): void => {
      giveUp?.();
      resolve();
    };
    if (signal.aborted) gone();
    else signal.addEventListener('abort', gone, { once: true });
  });
}

const answerFrame = (answer: Said & Answered, org: string): Buffer =>
  answer.kind === 'reply'
    ? encodeSurveyReply(org, answer.node, answer.record)
    : surveyFrame({
        $case: 'answer',
        value: { org, node: answer.node, error: answer.error, record: undefined },
      });

const summaryFrame = (end: SurveyEnd): Buffer => surveyFrame({ $case: 'summary', value: toSummary(end) });

const surveyFrame = (event: NonNullable<SurveyResponse['event']>): Buffer =>
  Buffer.from(SurveyResponse.encode({ event }).finish());

/** Answers that a caller has not read yet. */
class AnswerQueue {
  readonly #out: FrameWriter<Buffer>;
  #waiting: Buffer[] = [];
  #bytes = 0;
  #onFlushed: (() => void) | undefined;

  constructor(out: FrameWriter<Buffer>) {
    this.#out = out;
    out.onDrain(() => this.#flush());
  }

  /** False: too much is unread. */
  put(frame: Buffer): boolean {
    if (this.#waiting.length === 0 && this.#out.writable) {
      this.#out.put(frame);
      return true;
    }
    this.#waiting.push(frame);
    this.#bytes += frame.length;
    return this.#bytes <= MAX_UNREAD_ANSWER_BYTES;
  }

  flushed(listener: () => void): void {
    this.#onFlushed = listener;
    this.#flush();
  }

  #flush(): void {
    let next = 0;
    for (; next < this.#waiting.length && this.#out.writable; next++) {
      const frame = this.#waiting[next] as Buffer;
      this.#bytes -= frame.length;
      this.#out.put(frame);
    }
    this.#waiting.splice(0, next);
    if (this.#waiting.length === 0) this.#onFlushed?.();
  }
}

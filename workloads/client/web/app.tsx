/** The page: one state, one worker, parts that draw. */
import { useCallback, useEffect, useMemo, useReducer, useRef, useState } from 'preact/hooks';
import { announcement } from './announce.ts';
import { type Bridge, openBridge } from './bridge.ts';
import type { Classification } from './classification.ts';
import { type Action, EMPTY, freshSteps, type Picture, reduce } from './model.ts';
import { Banners } from './parts/banners.tsx';
import { ConnectionPanel } from './parts/connection.tsx';
import { DropZone } from './parts/drop-zone.tsx';
import { Flow } from './parts/flow.tsx';
import { Footer } from './parts/footer.tsx';
import { Header } from './parts/header.tsx';
import { PictureCard } from './parts/picture-card.tsx';
import { isComplete, keepSettings, readSeen, readSettings, servedBy, type Settings } from './settings.ts';

const ORIGIN = servedBy();

function why(connection: 'unset' | 'checking' | 'verified' | 'refused'): string {
  if (connection === 'refused') return 'The cell was refused: nothing is encrypted for it and nothing is sent.';
  return connection === 'checking' ? 'The cell’s evidence is being verified.' : 'Connect first: a cell has to prove itself before it gets anything.';
}

export function App() {
  const [state, change] = useReducer(reduce, EMPTY);
  const [start, setStart] = useState<{ settings: Partial<Settings>; gateway: string; pinned: boolean } | undefined>(undefined);
  const [settings, setSettings] = useState<Settings | undefined>(undefined);
  const [classification, setClassification] = useState<Classification>('confidential');
  const [said, say] = useState('');
  const current = useRef(state);
  current.current = state;
  const first = useRef<string | undefined>(undefined);

  const dispatch = useCallback((action: Action) => {
    const text = announcement(action, current.current);
    if (text !== undefined) say(text);
    change(action);
  }, []);
  const bridge: Bridge = useMemo(() => openBridge(dispatch), [dispatch]);

  const connect = useCallback((wanted: Settings) => {
    keepSettings(wanted);
    setSettings(wanted);
    dispatch({ type: 'connection', connection: { state: 'checking' } });
    bridge.send({ type: 'connect', settings: wanted, seen: readSeen() });
  }, [bridge, dispatch]);

  useEffect(() => {
    void readSettings().then((read) => {
      setStart(read);
      if (isComplete(read.settings)) connect(read.settings);
    });
  }, [connect]);

  // The key that a result is sealed to lives in this tab's memory only: who leaves now could never open it.
  const busy = state.pictures.some((p) => p.state === 'working' || p.state === 'queued');
  useEffect(() => {
    if (!busy) return;
    const warn = (event: BeforeUnloadEvent) => event.preventDefault();
    addEventListener('beforeunload', warn);
    return () => removeEventListener('beforeunload', warn);
  }, [busy]);

  const add = useCallback(async (files: readonly File[]) => {
    const pictures = files.map((file): Picture => ({ id: crypto.randomUUID(), name: file.name, bytes: file.size, url: URL.createObjectURL(file), state: 'queued', steps: freshSteps() }));
    first.current ??= pictures[0]?.id;
    dispatch({ type: 'add', pictures });
    for (const [i, picture] of pictures.entries()) {
      const bytes = await (files[i] as File).arrayBuffer();
      bridge.send({ type: 'count', id: picture.id, picture: bytes, classification }, [bytes]);
    }
  }, [bridge, classification, dispatch]);

  const remove = (picture: Picture) => {
    URL.revokeObjectURL(picture.url);
    dispatch({ type: 'remove', id: picture.id });
  };
  const recheck = (picture: Picture) => {
    if (!settings || !picture.verdict) return;
    dispatch({ type: 'recheck', id: picture.id, recheck: { state: 'running' } });
    bridge.send({ type: 'recheck', id: picture.id, receipt: picture.verdict.receipt, ownerKey: settings.ownerKey });
  };

  const allowed = state.connection.state === 'verified' ? state.connection.facts.classifications : [];
  return (
    <>
      <a class="skip" href="#pictures">Skip to the pictures</a>
      <Header />
      <Banners servedBy={ORIGIN} gateway={start?.gateway ?? ''} simulated={state.simulated} />
      <main>
        <div class="board">
          <div class="board-side">
            {start && <ConnectionPanel gateway={start.gateway} settings={start.settings} pinned={start.pinned} connection={state.connection} onConnect={connect} />}
          </div>
          <div class="board-main" id="pictures" tabIndex={-1}>
            <DropZone ready={state.connection.state === 'verified'} why={why(state.connection.state)} classification={classification} allowed={allowed} onClassification={setClassification} onFiles={(files) => void add(files)} />
            {state.pictures.length === 0 && <Flow />}
            {state.pictures.map((picture) => (
              <PictureCard key={picture.id} picture={picture} openOperator={picture.id === first.current} onRemove={() => remove(picture)} onRecheck={() => recheck(picture)} />
            ))}
          </div>
        </div>
      </main>
      <Footer simulated={state.simulated} />
      <div class="unseen" role="status" aria-live="polite">{said}</div>
    </>
  );
}

//! Runs an [`AsyncOperator`]: whole epochs go to tokio, capabilities stay on the worker.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use orderly_domain::planted::{self, Bug};
use orderly_operators::{AsyncOperator, Error, Ordered as _};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use tokio::runtime::Handle;

use super::Epoch;
use super::alarm::Alarm;
use crate::failure::{Cause, Failure};
use crate::metrics::Stage;
use crate::sync::{Notify, mpsc, spawn};

/// How an operator's records are spread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lanes {
    /// Keys hash into this many lanes a worker; each has at most one batch in flight.
    pub lanes: usize,
    /// A lane's batch takes whole epochs until it has this many records.
    pub batch_records_max: usize,
}

/// Where tasks run, and who else is to be woken when one has ended.
#[derive(Clone)]
pub(crate) struct Runtime {
    pub tasks: Handle,
    /// Who steps a worker that has no thread of its own.
    pub stepper: Option<Arc<Notify>>,
}

/// What an epoch still has to do here.
struct Open {
    capability: Capability<Epoch>,
    outstanding: usize,
}

struct Lane<In> {
    /// Records of complete epochs, in order.
    queue: VecDeque<(Epoch, Vec<In>)>,
    in_flight: bool,
}

struct Done<Out> {
    lane: usize,
    /// How many records of each epoch the batch had.
    epochs: Vec<(Epoch, usize)>,
    /// `None` when the task ended without an answer: it panicked.
    outs: Option<Result<Vec<Out>, Error>>,
}

/// Sends exactly one completion and wakes the operator, even when the task panics.
struct Completion<Out> {
    done: Option<Done<Out>>,
    sender: mpsc::Sender<Done<Out>>,
    alarm: Alarm,
}

impl<Out> Drop for Completion<Out> {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            // The worker may be gone: then nobody waits for it.
            let _ = self.sender.send(done);
            self.alarm.ring();
        }
    }
}

/// Applies the operator to the stream. Records go to the worker that `route` names; there an epoch waits until the frontier
/// says that it is complete, is sorted, and is spread over lanes. An error or a panic is reported to `failure`, and the
/// capability of what was not answered is kept: downstream must not take it for done.
pub(crate) fn asynchronous<'scope, O>(
    stream: StreamVec<'scope, Epoch, O::In>,
    operator: Arc<O>,
    route: impl Fn(&O::In) -> u64 + 'static,
    lanes: Lanes,
    runtime: Runtime,
    metrics: Stage,
    failure: Failure,
) -> StreamVec<'scope, Epoch, O::Out>
where
    O: AsyncOperator,
    O::In: timely::ExchangeData,
    O::Out: 'static,
{
    let scope = stream.scope();
    let mut builder = OperatorBuilder::new(operator.name().to_owned(), scope);
    let address = builder.operator_info().address.to_vec();
    // It must be made here: it remembers the worker's thread.
    let Runtime { tasks, stepper } = runtime;
    let alarm = Alarm { activator: scope.worker().sync_activator_for(address), stepper };
    let mut input = builder.new_input(stream, Exchange::new(route));
    let (output, out_stream) = builder.new_output::<Vec<O::Out>>();
    let mut output = OutputBuilder::<Epoch, CapacityContainerBuilder<Vec<O::Out>>>::from(output);
    let (sender, completions) = mpsc::channel::<Done<O::Out>>();

    builder.build(move |initial| {
        // Only records that came in may hold the frontier.
        drop(initial);
        let mut open: BTreeMap<Epoch, Open> = BTreeMap::new();
        let mut incomplete: BTreeMap<Epoch, Vec<O::In>> = BTreeMap::new();
        let mut queues: Vec<Lane<O::In>> =
            (0..lanes.lanes).map(|_| Lane { queue: VecDeque::new(), in_flight: false }).collect();
        move |frontiers| {
            input.for_each(|capability, batch| {
                let Some(epoch) = capability.least().copied() else { return };
                let held = open.entry(epoch).or_insert_with(|| Open {
                    capability: capability.retain_least(0).expect("a record's time has one element"),
                    outstanding: 0,
                });
                held.outstanding += batch.len();
                incomplete.entry(epoch).or_default().append(batch);
            });

            let mut output = output.activate();
            while let Ok(Done { lane, epochs, outs }) = completions.try_recv() {
                let outs = match outs {
                    Some(Ok(outs)) => outs,
                    Some(Err(_)) if planted::is(Bug::ErrorSwallowed) => {
                        queues[lane].in_flight = false;
                        for (epoch, _) in epochs {
                            open.remove(&epoch);
                        }
                        continue;
                    }
                    Some(Err(error)) => {
                        failure.report(Cause::of(operator.name(), &error));
                        return;
                    }
                    None => {
                        let text = format!("{} panicked; the panic is in the log above", operator.name());
                        failure.report(Cause::fatal(text));
                        return;
                    }
                };
                let records: usize = epochs.iter().map(|(_, records)| records).sum();
                assert_eq!(outs.len(), records, "{} answers each record once", operator.name());
                queues[lane].in_flight = false;
                let mut outs = outs.into_iter();
                for (epoch, records) in epochs {
                    let held = open.get_mut(&epoch).expect("an epoch is open while records of it are in flight");
                    output.session(&held.capability).give_iterator(outs.by_ref().take(records));
                    held.outstanding -= records;
                    if held.outstanding == 0 {
                        open.remove(&epoch);
                    }
                }
            }

            if failure.happened() {
                return;
            }
            let frontier = frontiers[0].frontier().first().copied();
            while let Some(entry) = incomplete.first_entry() {
                if frontier.is_some_and(|frontier| *entry.key() >= frontier) {
                    break;
                }
                let (epoch, mut records) = entry.remove_entry();
                records.sort_by_key(|record| record.order());
                if planted::is(Bug::EpochUnsorted) {
                    records.sort_by_key(|record| std::cmp::Reverse(record.order().1.partition));
                }
                spread(&mut queues, epoch, records, |record| operator.lane(record));
            }
            for (index, lane) in queues.iter_mut().enumerate() {
                let Some(Batch { records, epochs }) = lane.next_batch(lanes.batch_records_max) else { continue };
                let operator = Arc::clone(&operator);
                let (metrics, failure) = (metrics.clone(), failure.clone());
                let mut completion = Completion {
                    done: Some(Done { lane: index, epochs, outs: None }),
                    sender: sender.clone(),
                    alarm: alarm.clone(),
                };
                spawn(&tasks, async move {
                    let outs = tokio::select! {
                        biased;
                        // Its answer would not be used any more, and a task that begins late would ask under an old fence.
                        _ = failure.wait() => return,
                        outs = metrics.time_async(records.len(), operator.process_batch(records)) => outs,
                    };
                    if let Some(done) = &mut completion.done {
                        done.outs = Some(outs);
                    }
                });
            }
        }
    });
    out_stream
}

fn spread<In>(queues: &mut [Lane<In>], epoch: Epoch, records: Vec<In>, key: impl Fn(&In) -> u64) {
    if let [only] = queues {
        only.queue.push_back((epoch, records));
        return;
    }
    let lanes = queues.len() as u64;
    let mut shares: Vec<Vec<In>> = queues.iter().map(|_| Vec::new()).collect();
    for record in records {
        // The high bits: the low ones chose the worker.
        let lane = usize::try_from((key(&record) >> 32) % lanes).expect("a lane's index fits");
        shares[lane].push(record);
    }
    for (lane, share) in queues.iter_mut().zip(shares) {
        if !share.is_empty() {
            lane.queue.push_back((epoch, share));
        }
    }
}

/// What a lane has in flight: records, and how many of each epoch.
struct Batch<In> {
    records: Vec<In>,
    epochs: Vec<(Epoch, usize)>,
}

impl<In> Lane<In> {
    /// Whole epochs from the front of an idle lane, which is busy from then on.
    fn next_batch(&mut self, records_max: usize) -> Option<Batch<In>> {
        if self.in_flight {
            return None;
        }
        let (epoch, mut records) = self.queue.pop_front()?;
        let mut epochs = vec![(epoch, records.len())];
        while let Some((_, next)) = self.queue.front()
            && records.len() + next.len() <= records_max
        {
            let (epoch, mut next) = self.queue.pop_front().expect("it was just seen");
            epochs.push((epoch, next.len()));
            records.append(&mut next);
        }
        self.in_flight = true;
        Some(Batch { records, epochs })
    }
}

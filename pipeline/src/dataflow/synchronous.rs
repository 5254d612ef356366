//! Runs an [`Operator`] in place.

use orderly_operators::Operator;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::Epoch;
use crate::failure::{Cause, Failure};
use crate::metrics::Stage;

/// Applies the operator to the stream, on the same worker and in the same order. An error is reported to `failure` and
/// stops the operator for good; what it had not answered keeps its epoch open.
pub(crate) fn synchronous<'scope, O>(
    stream: StreamVec<'scope, Epoch, O::In>,
    mut operator: O,
    metrics: Stage,
    failure: Failure,
) -> StreamVec<'scope, Epoch, O::Out>
where
    O: Operator,
    O::In: 'static,
    O::Out: 'static,
{
    let mut builder = OperatorBuilder::new(operator.name().to_owned(), stream.scope());
    let mut input = builder.new_input(stream, Pipeline);
    let (output, out_stream) = builder.new_output::<Vec<O::Out>>();
    let mut output = OutputBuilder::<Epoch, CapacityContainerBuilder<Vec<O::Out>>>::from(output);
    builder.build(move |initial| {
        // Only records that came in may hold the frontier.
        drop(initial);
        let mut unanswered = Vec::new();
        move |_frontiers| {
            let mut output = output.activate();
            input.for_each(|capability, batch| {
                if failure.happened() {
                    unanswered.extend(capability.retain_least(0));
                    return;
                }
                let mut answers = Vec::new();
                let result = metrics.time(batch.len(), || operator.process_batch(std::mem::take(batch), &mut answers));
                match result {
                    Ok(()) => output.session(&capability).give_container(&mut answers),
                    Err(error) => {
                        unanswered.extend(capability.retain_least(0));
                        failure.report(Cause::of(operator.name(), &error));
                    }
                }
            });
        }
    });
    out_stream
}

%% SPDX-License-Identifier: Apache-2.0
%% @doc What a service of the node is: a module that understands terms and knows nothing of ports.
%%
%% `hornbeam_services' has the table of them and says where handle/3 runs: *inline*, in the worker
%% process between two packets, or in a process of its own. A service that is listed as inline
%% does bounded work: it never receives, sleeps, calls a process or visits a whole table; what it
%% does keeps every request of that worker waiting.
-module(hornbeam_service).

-export([fault/1, fault/3]).
-export_type([arguments/0, keywords/0, context/0, result/0, failure/0, fault/0]).

-type arguments() :: [term()].
%% Names are text: binaries.
-type keywords() :: #{term() => term()}.

-type context() :: #{
    %% The name the service was asked for by; one module may have several.
    service := binary(),
    %% The worker process whose Python program asks.
    worker := pid(),
    %% Id of the call, 0 for a cast.
    call := non_neg_integer(),
    %% Which process of the worker asks; with `call' it names the call. `undefined' for a cast.
    incarnation := reference() | undefined,
    %% The calls of which this one is a part.
    chain := hornbeam_caller:chain(),
    %% Origin of the call: the id of an exchange, 0, or the negated id of a call of the node
    %% (PROTOCOL.md, section 4.3).
    exchange := integer(),
    %% Milliseconds that the caller still granted when the call arrived; of a stream for each item.
    timeout := pos_integer()
}.

%% Dialyzer wants the spec of a handle/3 to name only those that it returns.
-type result() ::
    {ok, term()}
    %% An answer that is encoded already.
    | {encoded, hornbeam_caller:answer()}
    | failure().
-type failure() ::
    %% Failed as foreseen: RemoteError in Python, its class is `return'.
    {error, Reason :: term()}
    %% There is nothing of that name: NotRegistered.
    | {not_registered, Name :: term()}
    %% The arguments are wrong, the text says which and what is expected: TermError.
    | {bad_term, Text :: binary()}
    %% A limit is reached and nothing was done: Overloaded.
    | {overloaded, Resource :: binary(), Limit :: non_neg_integer()}
    %% The operator does not allow it, the text says by which option: RemoteError, class `refused'.
    | {refused, Text :: binary()}
    %% There is no answer of the node, the text says why: NodeDown.
    | {node_down, Node :: binary(), Text :: binary()}
    %% No answer in time: CallTimeout.
    | timeout
    %% Code that was called elsewhere has raised: RemoteError.
    | {raised, error | exit | throw, Reason :: term(), Stack :: list()}.

%% Name and details of FAULT, PROTOCOL.md section 4.3. Terms that failed are there as text.
-type fault() :: {Name :: binary(), Details :: map()}.

%% An exception is RemoteError in Python, with the stack.
-callback handle(arguments(), keywords(), context()) -> result().

%% The same with the arguments as they came, for what only passes them on.
-callback handle_payload(Payload :: binary(), context()) -> result().
-optional_callbacks([handle/3, handle_payload/2]).

-spec fault(failure()) -> fault().
fault({error, Reason}) -> fault(return, Reason, []);
fault({not_registered, Name}) -> {<<"not_registered">>, #{service => text(Name)}};
fault({bad_term, Text}) -> {<<"bad_term">>, #{reason => Text}};
fault({overloaded, Resource, Limit}) ->
    {<<"overloaded">>, #{resource => Resource, limit => Limit}};
fault({refused, Text}) -> {<<"refused">>, #{reason => Text}};
fault({node_down, Node, Text}) -> {<<"node_down">>, #{node => Node, reason => Text}};
fault(timeout) -> {<<"timeout">>, #{}};
fault({raised, Class, Reason, Stack}) -> fault(Class, Reason, Stack).

%% @doc The same for an exception.
-spec fault(error | exit | throw | return, Reason :: term(), Stack :: list()) -> fault().
fault(Class, Reason, Stack) ->
    {<<"remote_error">>, #{
        class => atom_to_binary(Class), reason => text(Reason), stack => text(Stack)
    }}.

text(Text) when is_binary(Text) -> Text;
text(Atom) when is_atom(Atom) -> atom_to_binary(Atom);
text([]) -> <<>>;
text(Term) ->
    hornbeam_wire:cut_text(unicode:characters_to_binary(io_lib:format("~0tP", [Term, 200]))).

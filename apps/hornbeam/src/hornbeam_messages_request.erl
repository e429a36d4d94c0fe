%% SPDX-License-Identifier: Apache-2.0
%% @doc What a request means that a process of the cluster sends to one of our services: the table
%% of names and operations, and the checks. Pure; runs in the process of the service.
%%
%%   Request    {Operation, Arguments} | {Operation, Arguments, Keywords}
%%            | {timeout, Milliseconds, Request}
%%   Operation  text: an atom, a binary, a list of characters
%%   Arguments  a list
%%   Keywords   a map, or a list of pairs; the keys are text
%%
%% Nothing of it becomes an atom.
-module(hornbeam_messages_request).

-export([names/0, parse/2]).
-export_type([name/0, work/0, error/0, operation/0]).

-type name() :: hornbeam_state | hornbeam_topics | hornbeam_functions | hornbeam_hooks.

-type work() ::
    {service, binary(), [term()], map()}
    | {hook, execute | execute_async | await_result, [term()], map() | pos_integer()}
    | {stream, [term()], map()}
    | {topics, operation()}.

-type operation() ::
    {subscribe, hornbeam_pubsub:channel(), Credit :: auto | non_neg_integer()}
    | {unsubscribe, hornbeam_pubsub:channel()}
    | {credit, hornbeam_pubsub:channel(), pos_integer()}.

-type error() :: {error, {Name :: binary(), Details :: map()}}.

%% Milliseconds that a request may take if it does not say.
-define(TIMEOUT, 30000).
-define(MAX_TIMEOUT, 16#FFFFFFFF).
-define(MAX_CREDIT, 65536).
-define(MAX_TOPIC, 1024).

%% @doc The registered names.
-spec names() -> [name(), ...].
names() -> [hornbeam_state, hornbeam_topics, hornbeam_functions, hornbeam_hooks].

%% @doc What to do, and how long it may take, milliseconds: a stream for each item.
-spec parse(name(), term()) -> {ok, work(), timeout()} | error().
parse(Name, Request) ->
    try
        parse(Name, Request, ?TIMEOUT)
    catch
        throw:{bad_request, Text} -> {error, hornbeam_service:fault({bad_term, Text})}
    end.

parse(Name, {timeout, Timeout, Request}, _) when
    is_integer(Timeout), Timeout > 0, Timeout =< ?MAX_TIMEOUT
->
    parse(Name, Request, Timeout);
parse(_, {timeout, _, _}, _) ->
    bad(<<"timeout: expected milliseconds, 1 to 4294967295">>);
parse(Name, {Operation, Arguments}, Timeout) ->
    parse(Name, {Operation, Arguments, #{}}, Timeout);
parse(Name, {Operation, Arguments, Keywords}, Timeout) when is_list(Arguments) ->
    _ = is_proper(Arguments) orelse bad(<<"the arguments are an improper list">>),
    Text = text(Operation, <<"the operation">>),
    work(Name, Text, Arguments, keywords(Keywords), Timeout);
parse(_, _, _) ->
    bad(<<"expected {Operation, Arguments} or {Operation, Arguments, Keywords}, "
        "Arguments a list">>).

is_proper(List) -> is_integer(catch length(List)).

work(hornbeam_state, Operation, Arguments, Keywords, Timeout) ->
    {ok, {service, <<"state.", Operation/binary>>, Arguments, Keywords}, Timeout};
work(hornbeam_functions, <<"call">>, [Function | Arguments], Keywords, Timeout) when
    map_size(Keywords) =:= 0
->
    Name = text(Function, <<"the name of a function">>),
    {ok, {service, <<"call">>, [Name, Arguments], #{}}, Timeout};
work(hornbeam_topics, <<"publish">>, [Topic, Message], _, Timeout) ->
    {ok, {service, <<"publish">>, [topic(Topic), Message], #{}}, Timeout};
work(hornbeam_topics, Operation, Arguments, Keywords, Timeout) ->
    {ok, {topics, topics(Operation, Arguments, Keywords)}, Timeout};
work(hornbeam_hooks, <<"await_result">>, [Id], _, Timeout) ->
    {ok, {hook, await_result, [text(Id, <<"the id of a task">>)], Timeout}, infinity};
work(hornbeam_hooks, Operation, [Path, Action | Arguments], Keywords, Timeout) ->
    Positional = [text(Path, <<"the path">>), text(Action, <<"the action">>), Arguments],
    hook(Operation, Positional, #{keywords => Keywords, timeout => Timeout});
work(Name, Operation, _, _, _) ->
    unknown(Name, Operation).

%% The deadline of a handler is where it runs.
hook(<<"execute">>, Arguments, Options) ->
    {ok, {hook, execute, Arguments, Options}, infinity};
hook(<<"execute_async">>, Arguments, Options) ->
    {ok, {hook, execute_async, Arguments, Options}, infinity};
hook(<<"stream">>, Arguments, Options) ->
    {ok, {stream, Arguments, Options}, infinity};
hook(Operation, _, _) ->
    unknown(hornbeam_hooks, Operation).

topics(<<"subscribe">>, [Topic], Keywords) ->
    {subscribe, channel(Topic, Keywords), credit(maps:get(<<"credit">>, Keywords, auto))};
topics(<<"unsubscribe">>, [Topic], Keywords) ->
    {unsubscribe, channel(Topic, Keywords)};
topics(<<"credit">>, [Topic, Messages], Keywords) when Messages =/= 0 ->
    {credit, channel(Topic, Keywords), credit(Messages)};
topics(Operation, _, _) ->
    unknown(hornbeam_topics, Operation).

channel(Topic, #{<<"prefix">> := true}) -> {prefix, topic(Topic)};
channel(Topic, _) -> {topic, topic(Topic)}.

topic(Topic) ->
    case text(Topic, <<"the topic">>) of
        Text when byte_size(Text) =< ?MAX_TOPIC -> Text;
        _ -> bad(<<"a topic is text of at most 1024 bytes">>)
    end.

credit(auto) -> auto;
credit(N) when is_integer(N), N >= 0, N =< ?MAX_CREDIT -> N;
credit(_) -> bad(<<"credit: expected a number of messages, at most 65536">>).

keywords(Keywords) when is_map(Keywords) ->
    keywords(maps:to_list(Keywords));
keywords(Keywords) when is_list(Keywords) ->
    _ = is_proper(Keywords) orelse bad(<<"the keywords are an improper list">>),
    maps:from_list([keyword(Keyword) || Keyword <- Keywords]);
keywords(_) ->
    bad(<<"the keywords are a map, or a list of pairs">>).

keyword({Name, Value}) -> {text(Name, <<"a keyword">>), Value};
keyword(_) -> bad(<<"the keywords are a map, or a list of pairs">>).

text(Text, _) when is_atom(Text) ->
    atom_to_binary(Text);
text(Text, What) when is_binary(Text); is_list(Text) ->
    try unicode:characters_to_binary(Text) of
        Binary when is_binary(Binary) -> Binary;
        _ -> no_text(What)
    catch
        error:badarg -> no_text(What)
    end;
text(_, What) ->
    no_text(What).

-spec no_text(binary()) -> no_return().
no_text(What) ->
    bad(<<What/binary, " is text: an atom, a binary in UTF-8, or a list of characters">>).

-spec unknown(name(), binary()) -> no_return().
unknown(Name, Operation) ->
    Service = atom_to_binary(Name),
    Known = hornbeam_wire:cut_text(Operation),
    bad(<<Service/binary, " has no operation ", Known/binary, " with such arguments">>).

-spec bad(binary()) -> no_return().
bad(Text) -> throw({bad_request, Text}).

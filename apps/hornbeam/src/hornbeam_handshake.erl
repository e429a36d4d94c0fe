%% SPDX-License-Identifier: Apache-2.0
%% @doc The greeting of a worker, until it is ready or has failed: PROTOCOL.md, section 4.1.
%%
%% Pure: messages of the worker go in, messages for it come out. Runs in the worker process, for
%% `hornbeam_link', which sends them.
-module(hornbeam_handshake).

-export([new/3, hello/1, handle/2, about/1, hooks/1]).
-export_type([state/0, versions/0, failure/0]).

-include("hornbeam_wire.hrl").

-type versions() :: {Min :: 1..255, Max :: 1..255}.

-type failure() ::
    {app_failed, Name :: binary(), Text :: binary()}
    | {worker_error, Name :: binary(), Text :: binary()}
    | {version_mismatch, Theirs :: versions(), Ours :: versions()}
    | {protocol, hornbeam_wire:error()}.

-record(state, {
    versions :: versions(),
    %% of our HELLO and of BOOT
    info :: map(),
    boot :: map(),
    %% what the worker said of itself in HELLO, and the version in force
    about = #{} :: map(),
    %% what its program registered while it was loaded, of READY
    hooks = [] :: [binary()],
    phase = hello :: hello | boot | ready
}).
-opaque state() :: #state{}.

%% @doc Info and Boot are the fields of HELLO and BOOT.
-spec new(versions(), Info :: map(), Boot :: map()) -> state().
new(Versions, Info, Boot) ->
    #state{versions = Versions, info = Info, boot = Boot}.

%% @doc What the node says first.
-spec hello(state()) -> hornbeam_wire:message().
hello(#state{versions = {Min, Max}, info = Info}) ->
    {?HELLO, Min, Max, Info}.

%% @doc Messages of a worker that has not been ready yet; `Out' is for it. `Rest' is what it says
%% about calls, which it may make while it loads the application, and whatever followed READY.
-spec handle([hornbeam_wire:message()], state()) ->
    {more, Out :: [hornbeam_wire:message()], Rest :: [hornbeam_wire:message()], state()}
    | {ready, Out :: [hornbeam_wire:message()], Rest :: [hornbeam_wire:message()], state()}
    | {failed, Out :: [hornbeam_wire:message()], failure()}.
handle(Messages, State) ->
    handle(Messages, [], [], State).

%% What it says about calls is newest first.
handle([], Out, Calls, State) ->
    {more, Out, lists:reverse(Calls), State};
handle([{?HELLO, Min, Max, Info} | Rest], Out, Calls, #state{phase = hello} = State) ->
    #state{versions = {OurMin, OurMax} = Ours, boot = Boot} = State,
    case Min =< OurMax andalso Max >= OurMin of
        true ->
            About = Info#{<<"protocol">> => min(Max, OurMax)},
            handle(Rest, Out ++ [{?BOOT, Boot}], Calls, State#state{phase = boot, about = About});
        false ->
            Error = {?ERROR, <<"version">>, <<"no version in common">>},
            {failed, Out ++ [Error], {version_mismatch, {Min, Max}, Ours}}
    end;
handle([{?READY, Info} | Rest], Out, Calls, #state{phase = boot} = State) ->
    Hooks = maps:get(<<"hooks">>, Info, []),
    case is_list(Hooks) andalso lists:all(fun is_binary/1, Hooks) of
        true ->
            {ready, Out, lists:reverse(Calls, Rest), State#state{phase = ready, hooks = Hooks}};
        false -> refuse(bad_message, <<"READY: hooks are a list of binaries">>, Out)
    end;
handle([{?FAILED, Name, Text} | _], Out, _, #state{phase = boot}) ->
    {failed, Out, {app_failed, Name, Text}};
handle([{?ERROR, Name, Text} | _], Out, _, _) ->
    {failed, Out, {worker_error, Name, Text}};
handle([{?BEAT} | Rest], Out, Calls, #state{phase = boot} = State) ->
    handle(Rest, Out, Calls, State);
handle([Message | Rest], Out, Calls, #state{phase = boot} = State) when
    ?IS_OF_CALL(element(1, Message))
->
    handle(Rest, Out, [Message | Calls], State);
handle([Message | _], Out, _, #state{phase = Phase}) ->
    Text = io_lib:format("message ~b while waiting for ~s", [element(1, Message), awaited(Phase)]),
    refuse(bad_state, iolist_to_binary(Text), Out).

awaited(hello) -> "HELLO";
awaited(boot) -> "READY".

refuse(Name, Text, Out) ->
    {failed, Out ++ [{?ERROR, atom_to_binary(Name), Text}], {protocol, {Name, Text}}}.

%% @doc `Info' of the worker's HELLO, with `<<"protocol">>', the version in force; empty before
%% that.
-spec about(state()) -> map().
about(#state{about = About}) -> About.

%% @doc Paths of the handlers that the program has registered so far, of READY.
-spec hooks(state()) -> [binary()].
hooks(#state{hooks = Hooks}) -> Hooks.

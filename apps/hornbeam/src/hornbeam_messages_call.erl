%% SPDX-License-Identifier: Apache-2.0
%% @doc One request of a process of the cluster: done, in time, and answered once.
%%
%% Runs in a process per request, which watches over the client and the deadline and is the only
%% one that answers; the work itself runs in another one, so that it can be stopped. A client whose
%% connection is full keeps only this process waiting.
-module(hornbeam_messages_call).

-export([start/4, refuse/3, stream/3]).
-export_type([client/0, work/0, answer/0]).

-include_lib("kernel/include/logger.hrl").

%% Who is answered, and how.
-type client() :: {call, gen_server:from()} | {message, pid(), Tag :: term()} | none.

-type answer() :: {ok, term()} | {error, term()}.
-type work() :: {done, answer()} | {run, fun(() -> answer())}.

%% @doc Answer the client, after the work if there is some, which may take Timeout milliseconds. The
%% monitor of the process that does it. Service is named in the log when a cast fails.
-spec start(client(), work(), timeout(), Service :: atom()) -> reference().
start(Client, Work, Timeout, Service) ->
    {_, Monitor} = spawn_monitor(fun() -> serve(Client, Work, Timeout, Service) end),
    Monitor.

serve(Client, {done, Answer}, _, Service) ->
    reply(Client, Answer, Service);
serve(Client, {run, Run}, Timeout, Service) ->
    Watch = watch(Client),
    Server = self(),
    {Runner, Monitor} = spawn_monitor(fun() -> Server ! {self(), Run()} end),
    receive
        {Runner, Answer} ->
            reply(Client, Answer, Service);
        {'DOWN', Monitor, process, _, Reason} ->
            reply(Client, {error, hornbeam_service:fault(exit, Reason, [])}, Service);
        {'DOWN', Watch, process, _, _} ->
            true = exit(Runner, kill),
            ok
    after Timeout ->
        true = exit(Runner, kill),
        reply(Client, {error, timeout}, Service)
    end.

watch(none) -> none;
watch({call, {Pid, _}}) -> monitor(process, Pid);
watch({message, Pid, _}) -> monitor(process, Pid).

%% @doc Answer without a process: what a full connection does not take is lost, as a client that
%% does not read must not hold up the service.
-spec refuse(client(), answer(), Service :: atom()) -> ok.
refuse(none, Answer, Service) ->
    reply(none, Answer, Service);
refuse({call, {Pid, Tag}}, Answer, _) ->
    _ = erlang:send(Pid, {Tag, public(Answer)}, [nosuspend, noconnect]),
    ok;
refuse({message, Pid, Tag}, Answer, _) ->
    _ = erlang:send(Pid, {hornbeam_reply, Tag, public(Answer)}, [nosuspend, noconnect]),
    ok.

%% @doc The work of a stream: each item is `{hornbeam_item, Tag, Item}', the answer comes last. The
%% handler is a few items ahead of what the client's connection takes.
-spec stream(client(), [term()], hornbeam_hooks:options()) -> work().
stream({message, Pid, Tag}, [Path, Action, Arguments], Options) ->
    Send = fun(Item, Sent) ->
        Pid ! {hornbeam_item, Tag, Item},
        {ok, Sent + 1}
    end,
    {run, fun() -> hornbeam_hooks:stream(Path, Action, Arguments, Send, 0, Options) end};
stream(_, _, _) ->
    Text = <<"stream: its items need the form {hornbeam_call, Pid, Tag, Request}">>,
    {done, {error, hornbeam_service:fault({bad_term, Text})}}.

reply({call, From}, Answer, _) ->
    gen_server:reply(From, public(Answer));
reply({message, Pid, Tag}, Answer, _) ->
    Pid ! {hornbeam_reply, Tag, public(Answer)},
    ok;
reply(none, {ok, _}, _) ->
    ok;
reply(none, Answer, Service) ->
    {error, Reason} = public(Answer),
    ?LOG_WARNING(
        #{what => cast_failed, service => Service, reason => Reason},
        #{domain => [hornbeam, services]}
    ).

%% Names of failures are atoms, and so are the keys of their details that we know.
public({ok, _} = Ok) -> Ok;
public({error, Name}) when is_atom(Name) -> {error, {Name, #{}}};
public({error, {Name, Details}}) when is_map(Details) ->
    Pairs = [{known(Key), Value} || {Key, Value} <- maps:to_list(Details)],
    {error, {known(Name), maps:from_list(Pairs)}};
public({error, {Name, Detail}}) ->
    {error, {known(Name), #{reason => Detail}}}.

known(Name) when is_binary(Name) ->
    maps:get(Name, names(), Name);
known(Name) ->
    Name.

%% PROTOCOL.md, section 4.3.
names() ->
    Names = [bad_term, cancelled, handler_error, node_down, not_registered, overloaded, refused,
        remote_error, timeout, class, limit, message, node, reason, resource, service, stack,
        traceback, type],
    maps:from_list([{atom_to_binary(Name), Name} || Name <- Names]).
